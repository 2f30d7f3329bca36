/* SPDX-License-Identifier: Apache-2.0 */
/* crash.c - what a broken invariant leaves behind: the expression, every node of this process as
 * one line, and its last events, on stderr and in DIR/crash-TIME.txt of each node. The newest five
 * files are kept.
 *
 * It runs in whatever thread failed, with everything else still running: it reads, and never
 * changes. The list of nodes is the only global of this room. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "node/room.h"

#define NODES_MAX   32u
#define EVENTS_MAX  64u
#define REPORTS_MAX 5u
#define REPORT_SIZE 32768u

static struct node *nodes[NODES_MAX];
static pthread_mutex_t nodes_lock = PTHREAD_MUTEX_INITIALIZER;

static size_t report_write(const struct node *n, const char *expression, const char *file, int line,
                           char *out, size_t size)
{
    size_t at =
        (size_t)snprintf(out, size, "%s:%d: assertion failed: %s\n", file, line, expression);
    const struct kelp_core *core = n->driver != NULL ? driver_core(n->driver) : NULL;
    if (core == NULL) return at;
    char text[512];
    struct kelp_event events[EVENTS_MAX];
    (void)kelp_describe(core, text, sizeof text);
    if (at < size) at += (size_t)snprintf(out + at, size - at, "node: %s\n", text);
    size_t count = kelp_recent(core, events, EVENTS_MAX);
    for (size_t i = 0; i < count && at < size; i++) {
        (void)kelp_describe_event(&events[i], text, sizeof text);
        at += (size_t)snprintf(out + at, size - at, "%" PRIu64 ".%06" PRIu64 " %s\n",
                               events[i].at / SECOND, events[i].at % SECOND / 1000, text);
    }
    return min_u64(at, size - 1);
}

/* Make room for one more report: the oldest names go first, and names order by time. */
static void reports_trim(const struct disk *disk)
{
    struct file_entry entries[64];
    struct kelp_fault fault = {.error = KELP_OK};
    size_t count = 0, reports = 0;
    if (disk->ops->list(disk->state, "", entries, COUNT_OF(entries), &count, &fault) != KELP_OK)
        return;
    count = (size_t)min_u64(count, COUNT_OF(entries));
    for (size_t i = 0; i < count; i++)
        reports += strncmp(entries[i].name, "crash-", 6) == 0;
    for (size_t i = 0; i < count && reports >= REPORTS_MAX; i++) {
        if (strncmp(entries[i].name, "crash-", 6) != 0) continue;
        (void)disk->ops->remove(disk->state, entries[i].name,
                                &fault); /* one too many does no harm */
        reports--;
    }
}

static void report_keep(const struct node *n, const char *text, size_t len)
{
    const struct disk *disk = &n->disk;
    if (disk->ops == NULL) return;
    char name[FILE_NAME_MAX];
    struct file *file = NULL;
    struct kelp_fault fault = {.error = KELP_OK};
    struct kelp_bytes part = bytes_of(text, len);
    reports_trim(disk);
    (void)snprintf(name, sizeof name, "crash-%012" PRIu64 ".txt", (uint64_t)time(NULL));
    if (disk->ops->open(disk->state, name, FILE_CREATE_ANY, &file, &fault) == KELP_OK &&
        disk->ops->write(disk->state, file, 0, &part, 1, &fault) == KELP_OK)
        (void)disk->ops->sync(disk->state, file, &fault);
    disk->ops->close(disk->state, file);
    if (fault.error != KELP_OK)
        (void)fprintf(stderr, "the report could not be kept: %s: %s\n", fault.where, fault.what);
}

static void crash_report(const char *expression, const char *file, int line)
{
    static char text[REPORT_SIZE]; /* the stack may be what is broken */
    bool any = false;
    for (size_t i = 0; i < NODES_MAX; i++) {
        const struct node *n = nodes[i];
        if (n == NULL) continue;
        any = true;
        size_t len = report_write(n, expression, file, line, text, sizeof text);
        (void)fwrite(text, 1, len, stderr);
        report_keep(n, text, len);
    }
    if (!any) (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
}

void crash_register(struct node *n)
{
    (void)pthread_mutex_lock(&nodes_lock);
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (nodes[i] != NULL) continue;
        nodes[i] = n;
        break;
    }
    assert_hook_set(crash_report);
    (void)pthread_mutex_unlock(&nodes_lock);
}

void crash_forget(struct node *n)
{
    (void)pthread_mutex_lock(&nodes_lock);
    bool any = false;
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (nodes[i] == n) nodes[i] = NULL;
        any = any || nodes[i] != NULL;
    }
    if (!any) assert_hook_set(NULL);
    (void)pthread_mutex_unlock(&nodes_lock);
}
