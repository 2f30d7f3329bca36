/* SPDX-License-Identifier: Apache-2.0 */
/* harm.c - what the virtual disk does wrong on purpose: rot, writes and reads that are lost or go
 * astray, calls that fail.
 *
 * All of it but rot shows only where a node can know it. A lost write, for one, is lost once a
 * later write to the same file has arrived: as long as it is the last one, no node alone can tell
 * it from one that was never made.
 * Source: what disks do, from Bairavasundaram et al., "An analysis of data corruption in the
 * storage stack", FAST 2008; failed syncs from Rebello et al., "Can applications recover from fsync
 * failures?", ATC 2020. */
#include <string.h>

#include "base/min.h"
#include "sim/disk_room.h"

void sim_disk_fail_sync(struct sim_disk *d, enum sim_disk_failure how)
{
    d->fail_sync = true;
    switch (how) {
    case SIM_FAILS_KEEPING: d->failure = IMAGE_KEEPS; return;
    case SIM_FAILS_GOING_BACK: d->failure = IMAGE_GOES_BACK; return;
    case SIM_FAILS_DROPPING: d->failure = IMAGE_DROPS; return;
    }
}

void sim_disk_fail_write(struct sim_disk *d)
{
    d->fail_write = true;
}

void sim_disk_fail_read(struct sim_disk *d)
{
    d->fail_read = true;
}

void sim_disk_misread(struct sim_disk *d)
{
    d->misread = true;
}

void sim_disk_behave(struct sim_disk *d)
{
    d->fail_sync = d->fail_write = d->fail_read = d->misread = false;
}

/* ---- places ---------------------------------------------------------------------------------- */

static bool path_starts(const char *path, const char *with)
{
    return strncmp(path, with, strlen(with)) == 0;
}

static bool path_ends(const char *path, const char *with)
{
    size_t len = strlen(path), tail = strlen(with);
    return len >= tail && strcmp(path + len - tail, with) == 0;
}

static bool path_of_part(const char *path, enum sim_disk_part part, bool mild)
{
    switch (part) {
    case SIM_PART_LOG:
        /* What a spare holds means nothing. */
        return path_starts(path, "log/") && (mild || path_ends(path, ".seg"));
    case SIM_PART_SNAPSHOT: return path_starts(path, "snap/") && path_ends(path, ".snap");
    case SIM_PART_VOTE: return strcmp(path, "vote") == 0;
    case SIM_PART_IDENTITY: return strcmp(path, "identity") == 0;
    }
    return false;
}

/* The aimed-at file of those that the process sees and a power cut leaves. */
static struct name *file_aimed(struct sim_disk *d, const struct sim_disk_aim *aim)
{
    size_t count = 0, pick;
    for (size_t i = 0; i < d->seen.count; i++)
        count += d->seen.names[i].image != NULL &&
                 path_of_part(d->seen.names[i].path, aim->part, aim->mild);
    if (count == 0) return NULL;
    pick = aim->file / 2 % count;
    for (size_t i = 0;; i++) {
        struct name *n = &d->seen.names[i];
        if (n->image != NULL && path_of_part(n->path, aim->part, aim->mild) && pick-- == 0)
            return n;
    }
}

static bool page_zero(const struct image *image, uint64_t page)
{
    static const uint8_t zeros[DISK_PAGE];
    uint64_t begin = page * DISK_PAGE, end = min_u64(begin + DISK_PAGE, image->durable.held);
    return begin >= end || memcmp(image->durable.data + begin, zeros, end - begin) == 0;
}

/* One past the last page that holds anything. */
static uint64_t pages_used(const struct image *image)
{
    uint64_t page = (image->durable.held + DISK_PAGE - 1) / DISK_PAGE;
    while (page > 0 && page_zero(image, page - 1))
        page--;
    return page;
}

static bool page_may_be_hit(const struct name *n, const struct sim_disk_aim *aim, uint64_t page,
                            uint64_t used)
{
    bool log = aim->part == SIM_PART_LOG;
    if (aim->mild) {
        if (aim->part == SIM_PART_SNAPSHOT) return false; /* there is one copy only */
        if (log && !path_ends(n->path, ".seg")) return true;
        return page == 0 || (log && page >= used);
    }
    return page < used && !(log && image_open_at(n->image, page * DISK_PAGE, DISK_PAGE));
}

/* The aimed-at page of a file; false: none may be hit. */
static bool page_aimed(const struct name *n, const struct sim_disk_aim *aim, uint64_t *out)
{
    uint64_t pages = (n->image->durable.size + DISK_PAGE - 1) / DISK_PAGE;
    uint64_t used = pages_used(n->image), count = 0;
    for (uint64_t page = 0; page < pages; page++)
        count += page_may_be_hit(n, aim, page, used);
    if (count == 0) return false;
    uint64_t pick = aim->place % count;
    for (uint64_t page = 0;; page++) {
        if (page_may_be_hit(n, aim, page, used) && pick-- == 0) {
            *out = page;
            return true;
        }
    }
}

static void hit_set(struct sim_disk_hit *hit, const struct name *n, uint64_t offset)
{
    memcpy(hit->path, n->path, sizeof hit->path);
    hit->offset = offset;
}

/* The file that is written to: the last segment, or the one that was aimed at. */
static struct name *file_written(struct sim_disk *d, const struct sim_disk_aim *aim)
{
    struct name *last = NULL;
    if (aim->part != SIM_PART_LOG) return file_aimed(d, aim);
    for (size_t i = 0; i < d->seen.count; i++) {
        struct name *n = &d->seen.names[i];
        if (n->image == NULL || !path_starts(n->path, "log/") || !path_ends(n->path, ".seg"))
            continue;
        if (last == NULL || strcmp(n->path, last->path) > 0) last = n;
    }
    return last;
}

/* ---- rot ------------------------------------------------------------------------------------- */

bool sim_disk_rot(struct sim_disk *d, const struct sim_disk_aim *aim, struct sim_disk_hit *hit)
{
    /* The last segment is the one whose end is judged: every second time. */
    bool last = !aim->mild && aim->file % 2 != 0;
    struct name *n = last ? file_written(d, aim) : file_aimed(d, aim);
    uint64_t page;
    if (n == NULL || !page_aimed(n, aim, &page)) return false;
    struct image *image = n->image;
    uint64_t begin = page * DISK_PAGE, end = min_u64(begin + DISK_PAGE, image->durable.size);
    /* Heads stand first and most pages are zeros behind them: three hits of four go there. */
    uint64_t bytes = aim->bit % 4 != 0 ? min_u64(end - begin, 160) : end - begin;
    uint64_t bit = aim->bit / 4 % (bytes * 8), at = begin + bit / 8;
    uint8_t rotten = image_side_byte(&image->durable, at) ^ (uint8_t)(1u << (bit % 8));
    image_harm(image, at, (struct kelp_bytes){&rotten, 1}, aim->cached);
    hit_set(hit, n, at);
    d->stats.rotten++;
    return true;
}

/* ---- writes that do not arrive --------------------------------------------------------------- */

bool sim_disk_lose(struct sim_disk *d, const struct sim_disk_aim *aim, struct sim_disk_hit *hit)
{
    struct name *n = file_written(d, aim);
    if (n == NULL) return false;
    image_lose(n->image, true);
    hit_set(hit, n, 0);
    d->stats.lost++;
    return true;
}

void disk_stray_ends(struct sim_disk *d)
{
    disk_image_release(d, d->stray.from);
    disk_image_release(d, d->stray.to);
    d->stray = (struct stray){0};
}

bool sim_disk_stray(struct sim_disk *d, const struct sim_disk_aim *from,
                    const struct sim_disk_aim *to, struct sim_disk_hit hits[2])
{
    struct name *victim = file_aimed(d, to);
    uint64_t page;
    if (victim == NULL || !page_aimed(victim, to, &page)) return false;
    struct name *n = file_written(d, from);
    if (n == NULL) return false;
    image_lose(n->image, true);
    hit_set(&hits[0], n, 0);
    hit_set(&hits[1], victim, page * DISK_PAGE);
    disk_stray_ends(d);
    d->stray = (struct stray){.from = n->image,
                              .to = victim->image,
                              .log = to->part == SIM_PART_LOG,
                              .offset = page * DISK_PAGE};
    disk_image_hold(n->image);
    disk_image_hold(victim->image);
    d->stats.misdirected++;
    return true;
}

/* What was lost is known once its bytes were taken away again: the page cache still has them. */
void disk_stray_lands(struct sim_disk *d, const struct image *image)
{
    struct stray *s = &d->stray;
    if (s->from == NULL) return;
    const struct image_loss *loss = &s->from->loss;
    if (loss->old != NULL) s->begin = loss->begin;
    if (s->from != image || loss->wanted || loss->old != NULL) return;
    uint8_t page[DISK_PAGE] = {0};
    uint64_t end = min_u64(s->begin + DISK_PAGE, image->seen.size);
    if (s->begin < end) image_side_read(&image->seen, s->begin, page, (size_t)(end - s->begin));
    if (!s->log || !image_open_at(s->to, s->offset, DISK_PAGE))
        image_harm(s->to, s->offset, (struct kelp_bytes){page, sizeof page}, false);
    disk_stray_ends(d);
}

/* ---- reads from elsewhere -------------------------------------------------------------------- */

bool disk_reads_elsewhere(const struct file *file, uint64_t offset, uint8_t *out, size_t len)
{
    uint64_t first = (offset + DISK_PAGE - 1) / DISK_PAGE, end = (offset + len) / DISK_PAGE;
    for (uint64_t page = first; page < end; page++) {
        if (page_zero(file->image, page) || image_open_at(file->image, page * DISK_PAGE, DISK_PAGE))
            continue;
        /* The next page of the same file that holds anything, else the page before. */
        uint64_t other = page + 1 < pages_used(file->image) ? page + 1 : sub_sat(page, 1);
        if (other == page || (other + 1) * DISK_PAGE > file->image->durable.size) continue;
        image_side_read(&file->image->durable, other * DISK_PAGE, out + (page * DISK_PAGE - offset),
                        DISK_PAGE);
        return true;
    }
    return false;
}

/* ---- a repair that nobody should make -------------------------------------------------------- */

static void table_drop_later(struct sim_disk *d, struct table *t, const char *path)
{
    for (size_t i = 0; i < t->count;) {
        struct name *n = &t->names[i];
        if (n->image == NULL || !path_starts(n->path, "log/") || strcmp(n->path, path) <= 0 ||
            !path_ends(n->path, ".seg")) {
            i++;
            continue;
        }
        disk_image_release(d, n->image);
        *n = t->names[--t->count];
    }
}

void sim_disk_cut_off(struct sim_disk *d, const char *path, uint64_t offset)
{
    static const uint8_t zeros[DISK_PAGE];
    struct name *n = disk_table_find(&d->seen, path);
    if (n == NULL || n->image == NULL || !path_starts(path, "log/")) return;
    uint64_t size = n->image->durable.size;
    for (uint64_t at = offset; at < size; at += DISK_PAGE)
        image_harm(n->image, at, (struct kelp_bytes){zeros, min_u64(DISK_PAGE, size - at)}, false);
    table_drop_later(d, &d->seen, path);
    table_drop_later(d, &d->durable, path);
}
