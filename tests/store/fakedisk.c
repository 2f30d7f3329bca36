/* SPDX-License-Identifier: Apache-2.0 */
/* fakedisk.c - the disk in memory of fakedisk.h.
 *
 * A node is a file's bytes, twice, or a directory. A name points to a node, in the cache and, once
 * its directory was synced, durably; until then the change waits in `pending`. */
#include "tests/store/fakedisk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/min.h"
#include "base/prng.h"

#define SECTOR       512u
#define SECTOR_DIRTY 1u /* newer in the cache */
#define SECTOR_HELD  2u /* takes room: it was written, not left out as a hole */
#define NAMES_MAX    256u
#define PENDING_MAX  512u

struct node {
    struct node *next; /* of all nodes of a disk */
    bool directory;
    uint8_t *cache, *durable;
    size_t size, durable_size, room; /* room bytes are there in both, zeros beyond size */
    uint8_t *sectors;                /* SECTOR_DIRTY, SECTOR_HELD */
    bool locked;
    bool hides; /* the cache hides that the disk has other bytes */
};

struct name {
    char path[FILE_NAME_MAX];
    struct node *node;
};

struct names {
    struct name rows[NAMES_MAX];
    size_t count;
};

/* from "" : a new name; to "": a removed one. */
struct change {
    char from[FILE_NAME_MAX], to[FILE_NAME_MAX];
    struct node *node;
};

struct file {
    struct file *next;
    struct node *node;
    char path[FILE_NAME_MAX];
    bool lock;
};

struct fakedisk {
    struct node *nodes;
    struct names cache, durable;
    struct change pending[PENDING_MAX];
    size_t pending_count;
    struct file *files;
    struct prng prng;
    uint64_t calls, writes, syncs, fail_at, die_at, capacity;
    enum kelp_error fail_with;
    bool dead;
};

/* ---- names and nodes ------------------------------------------------------------------------- */

static struct name *find(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->rows[i].path, path) == 0) return &names->rows[i];
    }
    return NULL;
}

static void unlink_name(struct names *names, const char *path)
{
    struct name *row = find(names, path);
    if (row != NULL) *row = names->rows[--names->count];
}

static void link_name(struct names *names, const char *path, struct node *node)
{
    unlink_name(names, path);
    ASSERT(names->count < NAMES_MAX);
    struct name *row = &names->rows[names->count++];
    (void)snprintf(row->path, sizeof row->path, "%s", path);
    row->node = node;
}

static void change_apply(struct names *names, const struct change *c)
{
    if (c->from[0] != '\0') unlink_name(names, c->from);
    if (c->to[0] != '\0') link_name(names, c->to, c->node);
}

static void change_make(struct fakedisk *d, const char *from, const char *to, struct node *node)
{
    ASSERT(d->pending_count < PENDING_MAX);
    struct change *c = &d->pending[d->pending_count++];
    (void)snprintf(c->from, sizeof c->from, "%s", from);
    (void)snprintf(c->to, sizeof c->to, "%s", to);
    c->node = node;
    change_apply(&d->cache, c);
}

static bool in_dir(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    if (len == 0) return strchr(path, '/') == NULL;
    return strncmp(path, dir, len) == 0 && path[len] == '/' && strchr(path + len + 1, '/') == NULL;
}

static struct node *node_new(struct fakedisk *d, bool directory)
{
    struct node *node = calloc(1, sizeof *node);
    ASSERT(node != NULL);
    node->directory = directory;
    node->next = d->nodes;
    d->nodes = node;
    return node;
}

static void node_room(struct node *n, size_t size)
{
    if (size <= n->room) return;
    size_t room = (size + 65535) / 65536 * 65536;
    n->cache = realloc(n->cache, room);
    n->durable = realloc(n->durable, room);
    n->sectors = realloc(n->sectors, room / SECTOR);
    ASSERT(n->cache != NULL && n->durable != NULL && n->sectors != NULL);
    memset(n->cache + n->room, 0, room - n->room);
    memset(n->durable + n->room, 0, room - n->room);
    memset(n->sectors + n->room / SECTOR, 0, (room - n->room) / SECTOR);
    n->room = room;
}

/* What a file holds of the disk; holes are free. */
static uint64_t node_held(const struct node *n, uint64_t begin, uint64_t end)
{
    uint64_t bytes = 0;
    for (size_t s = (size_t)begin / SECTOR; s * SECTOR < end && s < n->room / SECTOR; s++) {
        if ((n->sectors[s] & SECTOR_HELD) != 0) bytes += SECTOR;
    }
    return bytes;
}

static void node_shrunk(struct node *n)
{
    for (size_t s = (n->size + SECTOR - 1) / SECTOR; s < n->room / SECTOR; s++)
        n->sectors[s] &= (uint8_t)~SECTOR_HELD;
}

static void node_write(struct node *n, uint64_t offset, const uint8_t *data, size_t len)
{
    if (len == 0) return;
    node_room(n, (size_t)offset + len);
    memcpy(n->cache + offset, data, len);
    for (size_t s = (size_t)offset / SECTOR; s <= ((size_t)offset + len - 1) / SECTOR; s++) {
        n->sectors[s] = SECTOR_DIRTY | SECTOR_HELD;
    }
    if (offset + len > n->size) n->size = (size_t)offset + len;
}

static void node_sync(struct node *n)
{
    for (size_t s = 0; s < n->room / SECTOR; s++) {
        if ((n->sectors[s] & SECTOR_DIRTY) == 0) continue;
        memcpy(n->durable + s * SECTOR, n->cache + s * SECTOR, SECTOR);
        n->sectors[s] &= (uint8_t)~SECTOR_DIRTY;
    }
    n->durable_size = n->size;
}

/* Some of what was new reaches the disk; the rest is only in the cache from now on, and the cache
 * does not know. */
static void node_sync_fails(struct node *n, struct prng *prng)
{
    uint64_t arrive_in_8 = prng_below(prng, 9);
    for (size_t s = 0; s < n->room / SECTOR; s++) {
        if ((n->sectors[s] & SECTOR_DIRTY) != 0 && prng_chance(prng, arrive_in_8, 8)) {
            memcpy(n->durable + s * SECTOR, n->cache + s * SECTOR, SECTOR);
        }
        n->sectors[s] &= (uint8_t)~SECTOR_DIRTY;
    }
    if (prng_chance(prng, 1, 2)) n->durable_size = n->size;
}

static void node_cut(struct node *n, enum fakedisk_cut how, struct prng *prng)
{
    bool grown = how == CUT_KEEPS_ALL || (how == CUT_RANDOM && prng_chance(prng, 1, 2));
    uint64_t keep_in_8 = prng_below(prng, 9); /* some cuts keep nearly all, some nearly nothing */
    for (size_t s = 0; s < n->room / SECTOR; s++) {
        bool keep = how == CUT_KEEPS_ALL || (how == CUT_RANDOM && prng_chance(prng, keep_in_8, 8));
        size_t bytes = SECTOR; /* disks promise whole sectors; now and then they do not keep it */
        if (how == CUT_RANDOM && prng_chance(prng, 1, 4)) {
            bytes = (size_t)prng_below(prng, prng_chance(prng, 1, 2) ? 128 : SECTOR);
        }
        if ((n->sectors[s] & SECTOR_DIRTY) != 0 && keep) {
            memcpy(n->durable + s * SECTOR, n->cache + s * SECTOR, bytes);
        }
        n->sectors[s] &= (uint8_t)~SECTOR_DIRTY;
    }
    if (grown) n->durable_size = n->size;
    n->size = n->durable_size;
    node_shrunk(n);
    if (n->room > 0) {
        memset(n->durable + n->size, 0, n->room - n->size);
        memcpy(n->cache, n->durable, n->room);
    }
}

/* ---- the port -------------------------------------------------------------------------------- */

static struct fakedisk *of(void *disk)
{
    return disk;
}

enum fate { FATE_DONE, FATE_PART, FATE_NONE }; /* how much of a failing call still happens */

/* Counts a call. KELP_OK: perform it. Otherwise it fails with that error, after *fate of it was
 * done. */
static enum kelp_error call(struct fakedisk *d, const char *path, enum fate *fate,
                            struct kelp_fault *fault)
{
    ASSERT(fault != NULL);
    d->calls++;
    *fate = FATE_DONE;
    if (!d->dead && d->calls != d->fail_at && d->calls != d->die_at) return KELP_OK;
    *fate = FATE_NONE;
    enum kelp_error error = KELP_E_IO;
    if (!d->dead) {
        *fate = (enum fate)prng_below(&d->prng, 3);
        if (d->calls == d->fail_at) error = d->fail_with;
        if (d->calls == d->die_at) d->dead = true;
    }
    fault->os_error = error == KELP_E_NO_SPACE ? 28 : 5;
    return fault_set(fault, error, path, "injected failure of call %llu",
                     (unsigned long long)d->calls);
}

static enum kelp_error missing(const char *path, struct kelp_fault *fault)
{
    return fault_set(fault, KELP_E_NOT_FOUND, path, "no such file");
}

static struct file *file_new(struct fakedisk *d, const char *path, struct node *node)
{
    struct file *file = calloc(1, sizeof *file);
    ASSERT(file != NULL);
    file->node = node;
    (void)snprintf(file->path, sizeof file->path, "%s", path);
    file->next = d->files;
    d->files = file;
    return file;
}

static enum kelp_error fake_open(void *disk, const char *path, enum file_mode mode,
                                 struct file **out, struct kelp_fault *fault)
{
    struct fakedisk *d = of(disk);
    enum fate fate;
    enum kelp_error error = call(d, path, &fate, fault);
    struct name *row = find(&d->cache, path);
    bool creates = mode == FILE_CREATE || mode == FILE_CREATE_ANY;
    if (fate != FATE_NONE && row == NULL && creates) {
        struct node *node = node_new(d, false);
        change_make(d, "", path, node);
        row = find(&d->cache, path);
    } else if (error == KELP_OK && row == NULL) {
        return missing(path, fault);
    } else if (error == KELP_OK && mode == FILE_CREATE) {
        return fault_set(fault, KELP_E_IO, path, "it exists");
    }
    if (error == KELP_OK) *out = file_new(d, path, row->node);
    return error;
}

static void fake_close(void *disk, struct file *file)
{
    struct fakedisk *d = of(disk);
    if (file == NULL) return;
    struct file **at = &d->files;
    while (*at != NULL && *at != file)
        at = &(*at)->next;
    ASSERT(*at == file); /* closed twice otherwise */
    *at = file->next;
    if (file->lock) file->node->locked = false;
    free(file);
}

static enum kelp_error fake_size(void *disk, struct file *file, uint64_t *out,
                                 struct kelp_fault *fault)
{
    enum fate fate;
    enum kelp_error error = call(of(disk), file->path, &fate, fault);
    if (error == KELP_OK) *out = file->node->size;
    return error;
}

static enum kelp_error fake_read(void *disk, struct file *file, uint64_t offset, uint8_t *out,
                                 size_t len, size_t *got, struct kelp_fault *fault)
{
    enum fate fate;
    enum kelp_error error = call(of(disk), file->path, &fate, fault);
    *got = 0;
    if (error != KELP_OK || offset >= file->node->size) return error;
    *got = (size_t)min_u64(len, file->node->size - offset);
    if (*got > 0) memcpy(out, file->node->cache + offset, *got);
    return KELP_OK;
}

static void fake_forget(void *disk, struct file *file)
{
    struct node *n = file->node;
    if (of(disk)->dead || !n->hides) return;
    for (size_t s = 0; s < n->room / SECTOR; s++) {
        if ((n->sectors[s] & SECTOR_DIRTY) != 0) continue;
        memcpy(n->cache + s * SECTOR, n->durable + s * SECTOR, SECTOR);
    }
    n->hides = false;
}

static uint64_t used(const struct fakedisk *d)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < d->cache.count; i++)
        bytes += node_held(d->cache.rows[i].node, 0, UINT64_MAX);
    return bytes;
}

static enum kelp_error fake_write(void *disk, struct file *file, uint64_t offset,
                                  const struct kelp_bytes *parts, size_t count,
                                  struct kelp_fault *fault)
{
    struct fakedisk *d = of(disk);
    enum fate fate;
    enum kelp_error error = call(d, file->path, &fate, fault);
    uint64_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    uint64_t left = fate == FATE_DONE ? len : fate == FATE_PART ? prng_below(&d->prng, len + 1) : 0;
    uint64_t begin = offset / SECTOR * SECTOR, end = (offset + len + SECTOR - 1) / SECTOR * SECTOR;
    uint64_t grows = end - begin - node_held(file->node, begin, end);
    if (d->capacity != 0 && grows > 0 && used(d) + grows > d->capacity) {
        error = fault_set(fault, KELP_E_NO_SPACE, file->path, "the disk is full");
        left = prng_below(&d->prng, len + 1);
    }
    d->writes++;
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t part = (size_t)min_u64(parts[i].len, left);
        node_write(file->node, offset, parts[i].data, part);
        offset += part;
        left -= part;
    }
    return error;
}

static enum kelp_error fake_sync(void *disk, struct file *file, struct kelp_fault *fault)
{
    struct fakedisk *d = of(disk);
    enum fate fate;
    enum kelp_error error = call(d, file->path, &fate, fault);
    d->syncs++;
    if (fate == FATE_DONE)
        node_sync(file->node);
    else if (!d->dead)
        node_sync_fails(file->node, &d->prng);
    return error;
}

static enum kelp_error fake_truncate(void *disk, struct file *file, uint64_t size,
                                     struct kelp_fault *fault)
{
    enum fate fate;
    enum kelp_error error = call(of(disk), file->path, &fate, fault);
    if (fate == FATE_NONE) return error;
    struct node *n = file->node;
    node_room(n, (size_t)size);
    if (size < n->size) memset(n->cache + size, 0, n->size - (size_t)size);
    n->size = (size_t)size;
    node_shrunk(n);
    return error;
}

static enum kelp_error fake_rename(void *disk, const char *from, const char *to,
                                   struct kelp_fault *fault)
{
    struct fakedisk *d = of(disk);
    enum fate fate;
    enum kelp_error error = call(d, from, &fate, fault);
    struct name *row = find(&d->cache, from);
    if (row == NULL) return error == KELP_OK ? missing(from, fault) : error;
    if (fate != FATE_NONE) change_make(d, from, to, row->node);
    return error;
}

static enum kelp_error fake_remove(void *disk, const char *path, struct kelp_fault *fault)
{
    struct fakedisk *d = of(disk);
    enum fate fate;
    enum kelp_error error = call(d, path, &fate, fault);
    struct name *row = find(&d->cache, path);
    if (row == NULL) return error == KELP_OK ? missing(path, fault) : error;
    if (fate != FATE_NONE) change_make(d, path, "", row->node);
    return error;
}

static enum kelp_error fake_make_dir(void *disk, const char *path, struct kelp_fault *fault)
{
    struct fakedisk *d = of(disk);
    enum fate fate;
    enum kelp_error error = call(d, path, &fate, fault);
    if (fate == FATE_NONE || path[0] == '\0' || find(&d->cache, path) != NULL) return error;
    change_make(d, "", path, node_new(d, true));
    return error;
}

static enum kelp_error fake_sync_dir(void *disk, const char *path, struct kelp_fault *fault)
{
    struct fakedisk *d = of(disk);
    enum fate fate;
    enum kelp_error error = call(d, path, &fate, fault);
    size_t left = 0;
    for (size_t i = 0; i < d->pending_count; i++) {
        const struct change *c = &d->pending[i];
        if (fate == FATE_DONE && in_dir(c->to[0] != '\0' ? c->to : c->from, path)) {
            change_apply(&d->durable, c);
        } else {
            d->pending[left++] = *c;
        }
    }
    d->pending_count = left;
    return error;
}

static int by_name(const void *a, const void *b)
{
    const struct file_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum kelp_error fake_list(void *disk, const char *path, struct file_entry *out, size_t max,
                                 size_t *count, struct kelp_fault *fault)
{
    struct fakedisk *d = of(disk);
    enum fate fate;
    enum kelp_error error = call(d, path, &fate, fault);
    *count = 0;
    if (error != KELP_OK) return error;
    if (path[0] != '\0' && find(&d->cache, path) == NULL) return missing(path, fault);
    struct file_entry all[NAMES_MAX];
    for (size_t i = 0; i < d->cache.count; i++) {
        const struct name *row = &d->cache.rows[i];
        if (!in_dir(row->path, path)) continue;
        struct file_entry *entry = &all[(*count)++];
        *entry = (struct file_entry){.size = row->node->size, .directory = row->node->directory};
        size_t skip = path[0] != '\0' ? strlen(path) + 1 : 0;
        (void)snprintf(entry->name, sizeof entry->name, "%s", row->path + skip);
    }
    qsort(all, *count, sizeof all[0], by_name);
    memcpy(out, all, (size_t)min_u64(*count, max) * sizeof *out);
    return KELP_OK;
}

static enum kelp_error fake_lock(void *disk, const char *path, struct file **out,
                                 struct kelp_fault *fault)
{
    struct fakedisk *d = of(disk);
    struct file *file = NULL;
    enum kelp_error error = fake_open(disk, path, FILE_CREATE_ANY, &file, fault);
    if (error != KELP_OK) return error;
    if (file->node->locked) {
        fake_close(d, file);
        return fault_set(fault, KELP_E_LOCKED, path, "process 1 holds it");
    }
    file->node->locked = true;
    file->lock = true;
    *out = file;
    return KELP_OK;
}

static enum kelp_error fake_space(void *disk, uint64_t *free_bytes, struct kelp_fault *fault)
{
    struct fakedisk *d = of(disk);
    enum fate fate;
    enum kelp_error error = call(d, "", &fate, fault);
    *free_bytes = d->capacity != 0 ? sub_sat(d->capacity, used(d)) : UINT64_MAX;
    return error;
}

static const struct file_ops fake_ops = {
    .open = fake_open,
    .close = fake_close,
    .size = fake_size,
    .read = fake_read,
    .forget = fake_forget,
    .write = fake_write,
    .sync = fake_sync,
    .truncate = fake_truncate,
    .rename = fake_rename,
    .remove = fake_remove,
    .make_dir = fake_make_dir,
    .sync_dir = fake_sync_dir,
    .list = fake_list,
    .lock = fake_lock,
    .space = fake_space,
};

/* ---- the hand that fails it ------------------------------------------------------------------ */

struct fakedisk *fakedisk_new(uint64_t seed)
{
    struct fakedisk *d = calloc(1, sizeof *d);
    ASSERT(d != NULL);
    d->prng.state = seed;
    return d;
}

static void nodes_free(struct fakedisk *d)
{
    while (d->nodes != NULL) {
        struct node *next = d->nodes->next;
        free(d->nodes->cache);
        free(d->nodes->durable);
        free(d->nodes->sectors);
        free(d->nodes);
        d->nodes = next;
    }
}

void fakedisk_free(struct fakedisk *d)
{
    if (d == NULL) return;
    fakedisk_kill(d);
    nodes_free(d);
    free(d);
}

struct disk fakedisk_port(struct fakedisk *d)
{
    return (struct disk){.ops = &fake_ops, .state = d};
}

uint64_t fakedisk_calls(const struct fakedisk *d)
{
    return d->calls;
}

uint64_t fakedisk_writes(const struct fakedisk *d)
{
    return d->writes;
}

uint64_t fakedisk_syncs(const struct fakedisk *d)
{
    return d->syncs;
}

void fakedisk_fail_at(struct fakedisk *d, uint64_t number, enum kelp_error error)
{
    d->fail_at = number;
    d->fail_with = error;
}

void fakedisk_die_at(struct fakedisk *d, uint64_t number)
{
    d->die_at = number;
}

void fakedisk_capacity(struct fakedisk *d, uint64_t bytes)
{
    d->capacity = bytes;
}

void fakedisk_kill(struct fakedisk *d)
{
    while (d->files != NULL)
        fake_close(d, d->files);
    d->dead = false;
    d->die_at = 0;
    d->fail_at = 0;
}

void fakedisk_cut(struct fakedisk *d, enum fakedisk_cut how)
{
    fakedisk_kill(d);
    bool keeps = how == CUT_KEEPS_ALL;
    for (size_t i = 0; i < d->pending_count; i++) {
        if (how == CUT_RANDOM) keeps = prng_chance(&d->prng, 1, 2);
        if (keeps) change_apply(&d->durable, &d->pending[i]);
    }
    d->pending_count = 0;
    for (size_t i = 0;
         i < d->durable.count;) { /* what was in a directory that is lost is lost too */
        char dir[FILE_NAME_MAX];
        (void)snprintf(dir, sizeof dir, "%s", d->durable.rows[i].path);
        char *slash = strrchr(dir, '/');
        if (slash != NULL) *slash = '\0';
        if (slash != NULL && find(&d->durable, dir) == NULL)
            unlink_name(&d->durable, d->durable.rows[i].path);
        else
            i++;
    }
    d->cache = d->durable;
    for (struct node *n = d->nodes; n != NULL; n = n->next)
        node_cut(n, how, &d->prng);
}

struct fakedisk *fakedisk_copy(const struct fakedisk *d)
{
    struct fakedisk *c = fakedisk_new(d->prng.state);
    ASSERT(d->pending_count == 0); /* cut first: a copy is of a disk at rest */
    c->capacity = d->capacity;
    for (size_t i = 0; i < d->cache.count; i++) {
        const struct node *from = d->cache.rows[i].node;
        struct node *to = node_new(c, from->directory);
        node_room(to, from->size);
        if (from->size > 0) memcpy(to->cache, from->cache, from->size);
        if (from->size > 0) memcpy(to->durable, from->durable, from->size);
        for (size_t k = 0; k * SECTOR < from->size; k++)
            to->sectors[k] = from->sectors[k] & SECTOR_HELD;
        to->size = to->durable_size = from->size;
        link_name(&c->cache, d->cache.rows[i].path, to);
        link_name(&c->durable, d->cache.rows[i].path, to);
    }
    return c;
}

uint8_t *fakedisk_bytes(struct fakedisk *d, const char *path, size_t *size)
{
    struct name *row = find(&d->cache, path);
    if (row == NULL) return NULL;
    node_sync(row->node);
    if (size != NULL) *size = row->node->size;
    return row->node
        ->cache; /* a cut takes durable over: rot made here is for a disk that is not cut again */
}

uint8_t *fakedisk_hidden(struct fakedisk *d, const char *path)
{
    struct name *row = find(&d->cache, path);
    ASSERT(row != NULL);
    node_sync(row->node);
    row->node->hides = true;
    return row->node->durable;
}

void fakedisk_resize(struct fakedisk *d, const char *path, size_t size)
{
    struct name *row = find(&d->cache, path);
    ASSERT(row != NULL);
    node_room(row->node, size);
    if (size < row->node->size) memset(row->node->cache + size, 0, row->node->size - size);
    row->node->size = size;
    node_shrunk(row->node);
}

void fakedisk_put(struct fakedisk *d, const char *path, const void *bytes, size_t size)
{
    struct node *node = node_new(d, false);
    node_write(node, 0, bytes, size);
    node_sync(node);
    link_name(&d->cache, path, node);
    link_name(&d->durable, path, node);
}

void fakedisk_drop(struct fakedisk *d, const char *path)
{
    unlink_name(&d->cache, path);
    unlink_name(&d->durable, path);
}

void fakedisk_move(struct fakedisk *d, const char *from, const char *to)
{
    struct name *row = find(&d->cache, from);
    ASSERT(row != NULL);
    struct node *node = row->node;
    fakedisk_drop(d, from);
    link_name(&d->cache, to, node);
    link_name(&d->durable, to, node);
}

size_t fakedisk_open_files(const struct fakedisk *d)
{
    size_t count = 0;
    for (const struct file *f = d->files; f != NULL; f = f->next)
        count++;
    return count;
}
