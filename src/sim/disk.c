/* SPDX-License-Identifier: Apache-2.0 */
/* disk.c - the virtual disk of disk.h: names, open files and the file port.
 *
 * Names live in two tables: as the process sees them, and as a power cut leaves them. Changes that
 * are not yet durable wait in a list in the order they were made; syncing a directory makes its own
 * changes durable. Images of files are image.c's.
 * Source: what file systems may do at a power cut, from Pillai et al., "All file systems are not
 * created equal", OSDI 2014. */
#include "sim/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/min.h"
#include "sim/disk_room.h"

#define ROOM_MIN 64u

/* ---- names ----------------------------------------------------------------------------------- */

/* A test program: without memory there is nothing left to test. */
static void *grown(void *array, size_t *room, size_t count, size_t size)
{
    if (count < *room) return array;
    *room = max_u64(ROOM_MIN, 2 * *room);
    void *more = realloc(array, *room * size);
    if (more == NULL) abort();
    return more;
}

static uint64_t path_hash(const char *path)
{
    return hash_bytes((struct kelp_bytes){(const uint8_t *)path, strlen(path)}, 0);
}

struct name *disk_table_find(struct table *t, const char *path)
{
    uint64_t hash = path_hash(path);
    for (size_t i = 0; i < t->count; i++) {
        struct name *n = &t->names[i];
        if (n->hash == hash && strcmp(n->path, path) == 0) return n;
    }
    return NULL;
}

void disk_image_hold(struct image *image)
{
    if (image != NULL) image->references++;
}

void disk_image_release(struct sim_disk *d, struct image *image)
{
    if (image == NULL || --image->references > 0) return;
    struct image **at = &d->images;
    while (*at != image)
        at = &(*at)->next;
    *at = image->next;
    image_free(image);
}

static void table_put(struct sim_disk *d, struct table *t, const char *path, struct image *image)
{
    struct name *n = disk_table_find(t, path);
    disk_image_hold(image);
    if (n == NULL) {
        t->names = grown(t->names, &t->room, t->count, sizeof *n);
        n = &t->names[t->count++];
        memcpy(n->path, path, strlen(path) + 1);
        n->hash = path_hash(path);
    } else {
        disk_image_release(d, n->image);
    }
    n->image = image;
}

static void table_drop(struct sim_disk *d, struct table *t, const char *path)
{
    struct name *n = disk_table_find(t, path);
    if (n == NULL) return;
    disk_image_release(d, n->image);
    *n = t->names[--t->count];
}

static void table_change(struct sim_disk *d, struct table *t, const struct change *c)
{
    switch ((enum change_kind)c->kind) {
    case CHANGE_PUT: table_put(d, t, c->path, c->image); break;
    case CHANGE_DROP: table_drop(d, t, c->path); break;
    case CHANGE_MOVE:
        table_drop(d, t, c->path);
        table_put(d, t, c->to, c->image);
        break;
    }
}

static void table_copy(struct sim_disk *d, struct table *to, const struct table *from)
{
    for (size_t i = 0; i < from->count; i++)
        disk_image_hold(from->names[i].image);
    for (size_t i = 0; i < to->count; i++)
        disk_image_release(d, to->names[i].image);
    to->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        to->names = grown(to->names, &to->room, to->count, sizeof *to->names);
        to->names[to->count++] = from->names[i];
    }
}

static bool path_in(const char *path, const char *directory)
{
    size_t len = strlen(directory);
    if (len > 0) {
        if (strncmp(path, directory, len) != 0 || path[len] != '/') return false;
        path += len + 1;
    }
    return *path != '\0' && strchr(path, '/') == NULL;
}

/* The change happens to what the process sees, and waits for its directory to be synced. */
static void disk_change(struct sim_disk *d, enum change_kind kind, const char *path, const char *to,
                        struct image *image)
{
    d->changes = grown(d->changes, &d->change_room, d->change_count, sizeof *d->changes);
    struct change *c = &d->changes[d->change_count++];
    *c = (struct change){.kind = (uint8_t)kind, .image = image};
    memcpy(c->path, path, strlen(path) + 1);
    if (to != NULL) memcpy(c->to, to, strlen(to) + 1);
    disk_image_hold(image);
    table_change(d, &d->seen, c);
}

/* ---- the file port --------------------------------------------------------------------------- */

static enum kelp_error disk_error(struct kelp_fault *fault, enum kelp_error error, int os_error,
                                  const char *path, const char *what)
{
    (void)fault_set(fault, error, path, "%s", what);
    fault->os_error = os_error;
    return error;
}

static enum kelp_error disk_dead_error(struct kelp_fault *fault, const char *path)
{
    return disk_error(fault, KELP_E_IO, EIO, path, "the simulated node died during its disk work");
}

/* Every changing operation passes here; false: the node is dead by now. */
static bool disk_alive(struct sim_disk *d)
{
    d->stats.operations++;
    if (d->budget == UINT64_MAX) return true;
    if (d->budget == 0) return false;
    d->budget--;
    return true;
}

/* Every sync passes here: all before it was written, and nothing of it need stay. */
static bool disk_alive_to_sync(struct sim_disk *d)
{
    if (d->dies_at_sync > 0 && --d->dies_at_sync == 0) d->budget = 0;
    if (!disk_alive(d)) return false;
    d->stats.syncs++;
    return true;
}

static enum kelp_error file_attach(struct sim_disk *d, const char *path, struct image *image,
                                   struct file **out, struct kelp_fault *fault)
{
    struct file *f = calloc(1, sizeof *f);
    if (f == NULL) return disk_error(fault, KELP_E_NO_MEMORY, ENOMEM, path, "out of memory");
    f->image = image;
    disk_image_hold(image);
    f->lies = d->lie != NULL && strncmp(path, d->lie, strlen(d->lie)) == 0;
    memcpy(f->path, path, strlen(path) + 1);
    f->next = d->open_files;
    d->open_files = f;
    *out = f;
    return KELP_OK;
}

static enum kelp_error disk_open(void *state, const char *path, enum file_mode mode,
                                 struct file **out, struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    ASSERT(strlen(path) < FILE_NAME_MAX);
    if (d->budget == 0) return disk_dead_error(fault, path);
    struct name *n = disk_table_find(&d->seen, path);
    if (n != NULL && n->image == NULL)
        return disk_error(fault, KELP_E_IO, EISDIR, path, "is a directory");
    if (n != NULL && mode == FILE_CREATE)
        return disk_error(fault, KELP_E_IO, EEXIST, path, "exists already");
    if (n == NULL && (mode == FILE_READ || mode == FILE_WRITE))
        return disk_error(fault, KELP_E_NOT_FOUND, ENOENT, path, "no such file");
    struct image *image = n != NULL ? n->image : NULL;
    if (image == NULL) {
        if (!disk_alive(d)) return disk_dead_error(fault, path);
        image = image_new(&d->used);
        if (image == NULL)
            return disk_error(fault, KELP_E_NO_MEMORY, ENOMEM, path, "out of memory");
        image->next = d->images;
        d->images = image;
        disk_change(d, CHANGE_PUT, path, NULL, image);
    }
    return file_attach(d, path, image, out, fault);
}

static void disk_close(void *state, struct file *file)
{
    struct sim_disk *d = state;
    if (file == NULL) return;
    for (struct file **at = &d->open_files; *at != NULL; at = &(*at)->next) {
        if (*at != file) continue;
        *at = file->next;
        disk_image_release(d, file->image);
        free(file);
        return;
    }
    ASSERT(false); /* closed twice */
}

static enum kelp_error disk_size(void *state, struct file *file, uint64_t *out,
                                 struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (d->budget == 0) return disk_dead_error(fault, file->path);
    *out = file->image->seen.size;
    return KELP_OK;
}

static enum kelp_error disk_read(void *state, struct file *file, uint64_t offset, uint8_t *out,
                                 size_t len, size_t *got, struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (d->budget == 0) return disk_dead_error(fault, file->path);
    if (d->fail_read) {
        d->fail_read = false;
        d->stats.failed_reads++;
        return disk_error(fault, KELP_E_IO, EIO, file->path, "the simulated disk failed a read");
    }
    uint64_t left = sub_sat(file->image->seen.size, offset);
    *got = (size_t)min_u64(left, len);
    image_side_read(&file->image->seen, offset, out, *got);
    if (d->misread && disk_reads_elsewhere(file, offset, out, *got)) {
        d->misread = false;
        d->stats.misdirected++;
    }
    return KELP_OK;
}

static void disk_forget(void *state, struct file *file)
{
    (void)state;
    image_forget_cache(file->image);
}

/* Added up anew, to judge what was kept. */
static uint64_t images_size(const struct sim_disk *d)
{
    uint64_t size = 0;
    for (const struct image *i = d->images; i != NULL; i = i->next)
        size += i->seen.size;
    return size;
}

static uint64_t disk_used(const struct sim_disk *d)
{
    CHECK_SLOW(d->used == images_size(d));
    return d->used;
}

static enum kelp_error disk_full(struct sim_disk *d, struct kelp_fault *fault, const char *path)
{
    d->stats.full++;
    return disk_error(fault, KELP_E_NO_SPACE, ENOSPC, path, "the simulated disk is full");
}

/* Some first part of the bytes is written all the same. */
static enum kelp_error write_fails(struct sim_disk *d, struct file *file, uint64_t offset,
                                   const struct kelp_bytes *parts, size_t count,
                                   struct kelp_fault *fault)
{
    d->fail_write = false;
    d->stats.failed_writes++;
    if (count > 0) {
        struct kelp_bytes part = {parts[0].data, (size_t)prng_below(&d->prng, parts[0].len + 1)};
        if (!image_write(file->image, offset, part))
            return disk_error(fault, KELP_E_NO_MEMORY, ENOMEM, file->path, "out of memory");
    }
    return disk_error(fault, KELP_E_IO, EIO, file->path, "the simulated disk failed a write");
}

static enum kelp_error disk_write(void *state, struct file *file, uint64_t offset,
                                  const struct kelp_bytes *parts, size_t count,
                                  struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (!disk_alive(d)) return disk_dead_error(fault, file->path);
    uint64_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    if (offset + len > file->image->seen.size &&
        disk_used(d) + (offset + len - file->image->seen.size) > d->capacity)
        return disk_full(d, fault, file->path);
    if (d->fail_write) return write_fails(d, file, offset, parts, count, fault);
    for (size_t i = 0; i < count; i++) {
        if (!image_write(file->image, offset, parts[i]))
            return disk_error(fault, KELP_E_NO_MEMORY, ENOMEM, file->path, "out of memory");
        offset += parts[i].len;
    }
    return KELP_OK;
}

static enum kelp_error disk_sync(void *state, struct file *file, struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (!disk_alive_to_sync(d)) return disk_dead_error(fault, file->path);
    if (d->fail_sync) {
        d->fail_sync = false;
        d->stats.failed_syncs++;
        image_sync_fails(file->image, d->failure, &d->prng);
        return disk_error(fault, KELP_E_IO, EIO, file->path, "the simulated disk failed a sync");
    }
    if (file->lies) return KELP_OK;
    if (!image_sync(file->image))
        return disk_error(fault, KELP_E_NO_MEMORY, ENOMEM, file->path, "out of memory");
    disk_stray_lands(d, file->image);
    return KELP_OK;
}

static enum kelp_error disk_truncate(void *state, struct file *file, uint64_t size,
                                     struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (!disk_alive(d)) return disk_dead_error(fault, file->path);
    if (!image_resize(file->image, size))
        return disk_error(fault, KELP_E_NO_MEMORY, ENOMEM, file->path, "out of memory");
    return KELP_OK;
}

/* A log file in use; a spare has another name. */
static bool is_log(const char *path)
{
    static const char folder[] = "log/";
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && path[len] >= '0' && path[len] <= '9';
}

static enum kelp_error disk_rename(void *state, const char *from, const char *to,
                                   struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (!disk_alive(d)) return disk_dead_error(fault, from);
    struct name *n = disk_table_find(&d->seen, from);
    if (n == NULL) return disk_error(fault, KELP_E_NOT_FOUND, ENOENT, from, "no such file");
    struct image *image = n->image; /* names change places */
    disk_change(d, CHANGE_MOVE, from, to, image);
    if (image != NULL) image_begins(image, is_log(to));
    return KELP_OK;
}

static enum kelp_error disk_remove(void *state, const char *path, struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (!disk_alive(d)) return disk_dead_error(fault, path);
    struct name *n = disk_table_find(&d->seen, path);
    if (n == NULL) return disk_error(fault, KELP_E_NOT_FOUND, ENOENT, path, "no such file");
    disk_change(d, CHANGE_DROP, path, NULL, n->image);
    return KELP_OK;
}

static enum kelp_error disk_make_dir(void *state, const char *path, struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (!disk_alive(d)) return disk_dead_error(fault, path);
    if (path[0] == '\0') return KELP_OK;
    struct name *n = disk_table_find(&d->seen, path);
    if (n != NULL && n->image != NULL)
        return disk_error(fault, KELP_E_IO, ENOTDIR, path, "is a file");
    if (n == NULL) disk_change(d, CHANGE_PUT, path, NULL, NULL);
    return KELP_OK;
}

static enum kelp_error disk_sync_dir(void *state, const char *path, struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (!disk_alive_to_sync(d)) return disk_dead_error(fault, path);
    size_t kept = 0;
    for (size_t i = 0; i < d->change_count; i++) {
        struct change *c = &d->changes[i];
        if (!path_in(c->path, path)) {
            d->changes[kept++] = *c;
            continue;
        }
        table_change(d, &d->durable, c);
        disk_image_release(d, c->image);
    }
    d->change_count = kept;
    return KELP_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct file_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum kelp_error disk_list(void *state, const char *path, struct file_entry *out, size_t max,
                                 size_t *count, struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (d->budget == 0) return disk_dead_error(fault, path);
    struct name *directory = path[0] != '\0' ? disk_table_find(&d->seen, path) : NULL;
    if (path[0] != '\0' && (directory == NULL || directory->image != NULL))
        return disk_error(fault, KELP_E_NOT_FOUND, ENOENT, path, "no such directory");
    struct file_entry *found = calloc(d->seen.count + 1, sizeof *found);
    if (found == NULL) return disk_error(fault, KELP_E_NO_MEMORY, ENOMEM, path, "out of memory");
    size_t prefix = path[0] != '\0' ? strlen(path) + 1 : 0, n = 0;
    for (size_t i = 0; i < d->seen.count; i++) {
        const struct name *name = &d->seen.names[i];
        if (!path_in(name->path, path)) continue;
        found[n] = (struct file_entry){.size = name->image != NULL ? name->image->seen.size : 0,
                                       .directory = name->image == NULL};
        memcpy(found[n++].name, name->path + prefix, strlen(name->path + prefix) + 1);
    }
    qsort(found, n, sizeof *found, by_name);
    memcpy(out, found, min_u64(n, max) * sizeof *found);
    free(found);
    *count = n;
    return KELP_OK;
}

static enum kelp_error disk_lock(void *state, const char *path, struct file **out,
                                 struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    for (const struct file *f = d->open_files; f != NULL; f = f->next) {
        if (f->lock && strcmp(f->path, path) == 0)
            return disk_error(fault, KELP_E_LOCKED, EWOULDBLOCK, path, "locked by this very node");
    }
    enum kelp_error error = disk_open(state, path, FILE_CREATE_ANY, out, fault);
    if (error == KELP_OK) (*out)->lock = true;
    return error;
}

static enum kelp_error disk_space(void *state, uint64_t *free_bytes, struct kelp_fault *fault)
{
    struct sim_disk *d = state;
    if (d->budget == 0) return disk_dead_error(fault, "");
    *free_bytes = sub_sat(d->capacity, disk_used(d));
    return KELP_OK;
}

static const struct file_ops disk_ops = {
    .open = disk_open,
    .close = disk_close,
    .size = disk_size,
    .read = disk_read,
    .forget = disk_forget,
    .write = disk_write,
    .sync = disk_sync,
    .truncate = disk_truncate,
    .rename = disk_rename,
    .remove = disk_remove,
    .make_dir = disk_make_dir,
    .sync_dir = disk_sync_dir,
    .list = disk_list,
    .lock = disk_lock,
    .space = disk_space,
};

/* ---- the disk as the world sees it ----------------------------------------------------------- */

struct sim_disk *sim_disk_new(uint64_t seed, uint64_t capacity, uint32_t tear_bytes)
{
    struct sim_disk *d = calloc(1, sizeof *d);
    if (d == NULL) return NULL;
    d->prng.state = seed;
    d->capacity = capacity;
    d->tear_bytes = tear_bytes;
    d->budget = UINT64_MAX;
    return d;
}

void sim_disk_free(struct sim_disk *d)
{
    if (d == NULL) return;
    while (d->open_files != NULL) {
        struct file *f = d->open_files;
        d->open_files = f->next;
        free(f);
    }
    disk_stray_ends(d);
    while (d->images != NULL) {
        struct image *i = d->images;
        d->images = i->next;
        image_free(i);
    }
    free(d->seen.names);
    free(d->durable.names);
    free(d->changes);
    free(d);
}

struct disk sim_disk_port(struct sim_disk *d)
{
    return (struct disk){.ops = &disk_ops, .state = d};
}

void sim_disk_budget(struct sim_disk *d, uint64_t operations)
{
    d->budget = operations;
}

void sim_disk_dies_at_sync(struct sim_disk *d, uint64_t n)
{
    d->dies_at_sync = n;
}

bool sim_disk_dead(const struct sim_disk *d)
{
    return d->budget == 0;
}

static void disk_power_cut(struct sim_disk *d)
{
    /* A journal keeps order: some first part of the open changes is kept. Without one, any are. */
    size_t keep = (size_t)prng_below(&d->prng, d->change_count + 1);
    for (size_t i = 0; i < d->change_count; i++) {
        bool kept = d->names_loose ? prng_chance(&d->prng, 1, 2) : i < keep;
        if (kept) table_change(d, &d->durable, &d->changes[i]);
        d->stats.names_undone += !kept;
        disk_image_release(d, d->changes[i].image);
    }
    d->change_count = 0;
    table_copy(d, &d->seen, &d->durable);
    for (struct image *i = d->images; i != NULL; i = i->next) {
        struct image_cut cut = image_power_cut(i, &d->prng, d->tear_bytes, d->garbled);
        d->stats.sectors_kept += cut.kept;
        d->stats.sectors_dropped += cut.dropped;
        d->stats.sectors_torn += cut.torn;
    }
}

void sim_disk_crash(struct sim_disk *d, enum sim_disk_crash crash)
{
    while (d->open_files != NULL) {
        struct file *f = d->open_files;
        d->open_files = f->next;
        disk_image_release(d, f->image);
        free(f);
    }
    /* What has not turned out to be lost by now was written. */
    for (struct image *i = d->images; i != NULL; i = i->next)
        image_lose(i, false);
    disk_stray_ends(d);
    if (crash == SIM_CRASH_POWER) disk_power_cut(d);
    ASSERT(d->used == images_size(d));
    d->budget = UINT64_MAX;
    d->dies_at_sync = 0;
    sim_disk_behave(d);
}

void sim_disk_habits(struct sim_disk *d, bool garbled, bool names_loose)
{
    d->garbled = garbled;
    d->names_loose = names_loose;
}

void sim_disk_room(struct sim_disk *d, uint64_t capacity)
{
    d->capacity = capacity;
}

uint64_t sim_disk_used(const struct sim_disk *d)
{
    return disk_used(d);
}

void sim_disk_lie(struct sim_disk *d, const char *prefix)
{
    d->lie = prefix;
    for (struct file *f = d->open_files; f != NULL; f = f->next)
        f->lies = prefix != NULL && strncmp(f->path, prefix, strlen(prefix)) == 0;
}

void sim_disk_stats(const struct sim_disk *d, struct sim_disk_stats *out)
{
    *out = d->stats;
}
