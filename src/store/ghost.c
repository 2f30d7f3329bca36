/* SPDX-License-Identifier: Apache-2.0 */
/* ghost.c - a disk that reads another one and keeps to itself all that is written to it.
 *
 * What the store thinks of a directory it only says by opening it, and opening repairs: so whoever
 * wants to know without changing a byte opens it through this. A file of the disk below is opened
 * for reading when it is first asked for; blocks that are written stand in memory from then on, and
 * so do names that come, go or change. The lock is not taken below: who wants the directory to
 * stand still holds it himself.
 *
 *   name --in the table?--yes--> its file, or gone
 *              `--no--> the file of that name below, into the table at its first use */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "store/room.h"

struct ghost_file {
    struct ghost_file *next;
    char name[FILE_NAME_MAX];
    bool gone, directory;
    struct file *below; /* NULL: made here */
    uint64_t below_size, size;
    uint8_t **blocks; /* by number; NULL: as below, or zeros */
    size_t block_count;
};

struct file {
    struct ghost_file *of;
};

struct ghost {
    struct disk below;
    struct ghost_file *files; /* the newest first; a name that was given up may come twice */
};

static struct ghost_file *known(const struct ghost *g, const char *name)
{
    for (struct ghost_file *f = g->files; f != NULL; f = f->next) {
        if (strcmp(f->name, name) == 0) return f;
    }
    return NULL;
}

static struct ghost_file *row_make(struct ghost *g, const char *name, struct kelp_fault *fault)
{
    struct ghost_file *f = calloc(1, sizeof *f);
    if (f == NULL) {
        (void)fault_set(fault, KELP_E_NO_MEMORY, name, "out of memory");
        return NULL;
    }
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->next = g->files;
    g->files = f;
    return f;
}

/* The file of a name, from below if need be. KELP_E_NOT_FOUND: there is none. */
static enum kelp_error find(struct ghost *g, const char *name, struct ghost_file **out,
                            struct kelp_fault *fault)
{
    struct ghost_file *f = known(g, name);
    if (f != NULL && f->gone) return fault_set(fault, KELP_E_NOT_FOUND, name, "it is not there");
    *out = f;
    if (f != NULL) return KELP_OK;
    struct file *below = NULL;
    enum kelp_error error = g->below.ops->open(g->below.state, name, FILE_READ, &below, fault);
    if (error != KELP_OK) return error;
    uint64_t size = 0;
    error = g->below.ops->size(g->below.state, below, &size, fault);
    f = error == KELP_OK ? row_make(g, name, fault) : NULL;
    if (f == NULL) {
        g->below.ops->close(g->below.state, below);
        return error == KELP_OK ? KELP_E_NO_MEMORY : error;
    }
    f->below = below;
    f->below_size = f->size = size;
    *out = f;
    return KELP_OK;
}

static enum kelp_error ghost_open(void *disk, const char *path, enum file_mode mode,
                                  struct file **out, struct kelp_fault *fault)
{
    struct ghost *g = disk;
    struct ghost_file *f = NULL;
    struct kelp_fault cause = {.error = KELP_OK};
    enum kelp_error error = find(g, path, &f, &cause);
    bool creates = mode == FILE_CREATE || mode == FILE_CREATE_ANY;
    if (error == KELP_OK && mode == FILE_CREATE)
        return fault_set(fault, KELP_E_IO, path, "it is there already");
    if (error == KELP_E_NOT_FOUND && creates) {
        f = row_make(g, path, fault);
        error = f != NULL ? KELP_OK : KELP_E_NO_MEMORY;
    } else if (error != KELP_OK && fault->error == KELP_OK) {
        *fault = cause;
    }
    if (error != KELP_OK) return error;
    *out = malloc(sizeof **out);
    if (*out == NULL) return fault_set(fault, KELP_E_NO_MEMORY, path, "out of memory");
    (*out)->of = f;
    return KELP_OK;
}

static void ghost_close(void *disk, struct file *file)
{
    (void)disk;
    free(file);
}

static enum kelp_error ghost_size(void *disk, struct file *file, uint64_t *out,
                                  struct kelp_fault *fault)
{
    (void)disk, (void)fault;
    *out = file->of->size;
    return KELP_OK;
}

/* What the file holds at offset, without what was written here; zeros beyond what is below. */
static enum kelp_error below_read(struct ghost *g, struct ghost_file *f, uint64_t offset,
                                  uint8_t *out, size_t len, struct kelp_fault *fault)
{
    size_t got = 0, there = (size_t)min_u64(len, sub_sat(f->below_size, offset));
    enum kelp_error error = KELP_OK;
    if (f->below != NULL && there > 0)
        error = g->below.ops->read(g->below.state, f->below, offset, out, there, &got, fault);
    if (got < len) memset(out + got, 0, len - got);
    return error;
}

static void ghost_forget(void *disk, struct file *file)
{
    const struct ghost *g = disk;
    const struct ghost_file *f = file->of;
    if (f->below != NULL) g->below.ops->forget(g->below.state, f->below);
}

static enum kelp_error ghost_read(void *disk, struct file *file, uint64_t offset, uint8_t *out,
                                  size_t len, size_t *got, struct kelp_fault *fault)
{
    struct ghost_file *f = file->of;
    *got = 0;
    uint64_t end = min_u64(f->size, add_sat(offset, len));
    while (offset < end) {
        size_t block = (size_t)(offset / STORE_BLOCK), at = (size_t)(offset % STORE_BLOCK);
        size_t some = (size_t)min_u64(end - offset, STORE_BLOCK - at);
        const uint8_t *held = block < f->block_count ? f->blocks[block] : NULL;
        enum kelp_error error = KELP_OK;
        if (held != NULL)
            memcpy(out + *got, held + at, some);
        else
            error = below_read(disk, f, offset, out + *got, some, fault);
        if (error != KELP_OK) return error;
        *got += some;
        offset += some;
    }
    return KELP_OK;
}

static enum kelp_error block_hold(struct ghost *g, struct ghost_file *f, size_t block,
                                  struct kelp_fault *fault)
{
    if (block >= f->block_count) {
        size_t room = (size_t)max_u64(block + 1, 2 * f->block_count);
        uint8_t **grown = realloc(f->blocks, room * sizeof *grown);
        if (grown == NULL) return fault_set(fault, KELP_E_NO_MEMORY, f->name, "out of memory");
        memset(grown + f->block_count, 0, (room - f->block_count) * sizeof *grown);
        f->blocks = grown;
        f->block_count = room;
    }
    if (f->blocks[block] != NULL) return KELP_OK;
    uint8_t *held = malloc(STORE_BLOCK);
    if (held == NULL) return fault_set(fault, KELP_E_NO_MEMORY, f->name, "out of memory");
    enum kelp_error error =
        below_read(g, f, (uint64_t)block * STORE_BLOCK, held, STORE_BLOCK, fault);
    if (error != KELP_OK) {
        free(held);
        return error;
    }
    f->blocks[block] = held;
    return KELP_OK;
}

static enum kelp_error ghost_write(void *disk, struct file *file, uint64_t offset,
                                   const struct kelp_bytes *parts, size_t count,
                                   struct kelp_fault *fault)
{
    struct ghost_file *f = file->of;
    for (size_t i = 0; i < count; i++) {
        for (size_t done = 0; done < parts[i].len;) {
            size_t block = (size_t)(offset / STORE_BLOCK), at = (size_t)(offset % STORE_BLOCK);
            size_t some = (size_t)min_u64(parts[i].len - done, STORE_BLOCK - at);
            enum kelp_error error = block_hold(disk, f, block, fault);
            if (error != KELP_OK) return error;
            memcpy(f->blocks[block] + at, parts[i].data + done, some);
            done += some;
            offset += some;
            f->size = max_u64(f->size, offset);
        }
    }
    return KELP_OK;
}

static enum kelp_error ghost_sync(void *disk, struct file *file, struct kelp_fault *fault)
{
    (void)disk, (void)file, (void)fault;
    return KELP_OK;
}

/* What is cut off must come back as zeros should the file grow again. */
static enum kelp_error ghost_truncate(void *disk, struct file *file, uint64_t size,
                                      struct kelp_fault *fault)
{
    struct ghost_file *f = file->of;
    size_t block = (size_t)(size / STORE_BLOCK), at = (size_t)(size % STORE_BLOCK);
    if (size < f->size && at > 0) {
        enum kelp_error error = block_hold(disk, f, block, fault);
        if (error != KELP_OK) return error;
        memset(f->blocks[block] + at, 0, STORE_BLOCK - at);
        block++;
    }
    for (; size < f->size && block < f->block_count; block++) {
        free(f->blocks[block]);
        f->blocks[block] = NULL;
    }
    f->below_size = min_u64(f->below_size, size);
    f->size = size;
    return KELP_OK;
}

/* From now on nothing has this name. */
static enum kelp_error name_end(struct ghost *g, const char *name, struct kelp_fault *fault)
{
    struct ghost_file *f = row_make(g, name, fault);
    if (f == NULL) return KELP_E_NO_MEMORY;
    f->gone = true;
    return KELP_OK;
}

static enum kelp_error ghost_rename(void *disk, const char *from, const char *to,
                                    struct kelp_fault *fault)
{
    struct ghost *g = disk;
    struct ghost_file *f = NULL;
    enum kelp_error error = find(g, from, &f, fault);
    if (error == KELP_OK) error = name_end(g, from, fault);
    if (error != KELP_OK) return error;
    struct ghost_file **at = &g->files; /* to the front: what had the new name is hidden */
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    f->next = g->files;
    g->files = f;
    (void)snprintf(f->name, sizeof f->name, "%s", to);
    return KELP_OK;
}

static enum kelp_error ghost_remove(void *disk, const char *path, struct kelp_fault *fault)
{
    struct ghost_file *f = NULL;
    enum kelp_error error = find(disk, path, &f, fault);
    return error == KELP_OK ? name_end(disk, path, fault) : error;
}

static enum kelp_error ghost_make_dir(void *disk, const char *path, struct kelp_fault *fault)
{
    struct ghost *g = disk;
    if (known(g, path) != NULL) return KELP_OK; /* one that is below looks the same */
    struct ghost_file *f = row_make(g, path, fault);
    if (f != NULL) f->directory = true;
    return f != NULL ? KELP_OK : KELP_E_NO_MEMORY;
}

static enum kelp_error ghost_sync_dir(void *disk, const char *path, struct kelp_fault *fault)
{
    (void)disk, (void)path, (void)fault;
    return KELP_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct file_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* The name in a directory, NULL: it is of another one. */
static const char *name_in(const char *path, const char *file)
{
    size_t len = strlen(path);
    if (len > 0) {
        if (strncmp(file, path, len) != 0 || file[len] != '/') return NULL;
        file += len + 1;
    }
    return strchr(file, '/') == NULL ? file : NULL;
}

static void join(const char *path, const char *name, char out[2 * FILE_NAME_MAX])
{
    (void)snprintf(out, 2 * FILE_NAME_MAX, "%s%s%s", path, path[0] != '\0' ? "/" : "", name);
}

static size_t listed(const struct ghost *g, const char *path, const struct file_entry *below,
                     size_t below_count, struct file_entry *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < below_count; i++) {
        char whole[2 * FILE_NAME_MAX];
        join(path, below[i].name, whole);
        if (known(g, whole) == NULL) rows[count++] = below[i];
    }
    for (const struct ghost_file *f = g->files; f != NULL; f = f->next) {
        const char *name = name_in(path, f->name);
        if (name == NULL || f->gone || known(g, f->name) != f) continue;
        rows[count] = (struct file_entry){.size = f->size, .directory = f->directory};
        (void)snprintf(rows[count].name, sizeof rows[count].name, "%s", name);
        count++;
    }
    qsort(rows, count, sizeof *rows, by_name);
    return count;
}

static enum kelp_error ghost_list(void *disk, const char *path, struct file_entry *out, size_t max,
                                  size_t *count, struct kelp_fault *fault)
{
    struct ghost *g = disk;
    struct file_entry *below = NULL;
    size_t below_count = 0, made = 0;
    *count = 0;
    enum kelp_error error = room_list(g->below, path, &below, &below_count, fault);
    if (error != KELP_OK) return error;
    for (const struct ghost_file *f = g->files; f != NULL; f = f->next)
        made++;
    struct file_entry *rows = calloc(below_count + made + 1, sizeof *rows);
    if (rows == NULL) {
        free(below);
        return fault_set(fault, KELP_E_NO_MEMORY, path, "out of memory");
    }
    *count = listed(g, path, below, below_count, rows);
    if (*count > 0 && max > 0) memcpy(out, rows, (size_t)min_u64(max, *count) * sizeof *out);
    free(rows);
    free(below);
    return KELP_OK;
}

static enum kelp_error ghost_lock(void *disk, const char *path, struct file **out,
                                  struct kelp_fault *fault)
{
    return ghost_open(disk, path, FILE_CREATE_ANY, out, fault);
}

static enum kelp_error ghost_space(void *disk, uint64_t *free_bytes, struct kelp_fault *fault)
{
    struct ghost *g = disk;
    return g->below.ops->space(g->below.state, free_bytes, fault);
}

static const struct file_ops ghost_ops = {
    .open = ghost_open,
    .close = ghost_close,
    .size = ghost_size,
    .read = ghost_read,
    .forget = ghost_forget,
    .write = ghost_write,
    .sync = ghost_sync,
    .truncate = ghost_truncate,
    .rename = ghost_rename,
    .remove = ghost_remove,
    .make_dir = ghost_make_dir,
    .sync_dir = ghost_sync_dir,
    .list = ghost_list,
    .lock = ghost_lock,
    .space = ghost_space,
};

enum kelp_error ghost_disk(struct disk below, struct disk *out, struct kelp_fault *fault)
{
    struct ghost *g = calloc(1, sizeof *g);
    if (g == NULL) return fault_set(fault, KELP_E_NO_MEMORY, "", "out of memory");
    g->below = below;
    *out = (struct disk){.ops = &ghost_ops, .state = g};
    return KELP_OK;
}

void ghost_disk_close(struct disk *disk)
{
    if (disk->ops == NULL) return;
    ASSERT(disk->ops == &ghost_ops);
    struct ghost *g = disk->state;
    while (g->files != NULL) {
        struct ghost_file *f = g->files;
        g->files = f->next;
        g->below.ops->close(g->below.state, f->below);
        for (size_t i = 0; i < f->block_count; i++)
            free(f->blocks[i]);
        free(f->blocks);
        free(f);
    }
    free(g);
    *disk = (struct disk){.ops = NULL};
}
