/* SPDX-License-Identifier: Apache-2.0 */
/* room.c - the few small things that every file of the store needs: faults with a place, growing
 * arrays, whole directories, notes for people. */
#include "store/room.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/min.h"

enum kelp_error room_fault(struct kelp_fault *fault, enum kelp_error error, const char *file,
                           uint64_t offset, kelp_index index, const char *format, ...)
{
    if (fault == NULL || fault->error != KELP_OK) return error;
    char words[sizeof fault->what];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    (void)fault_set(fault, error, file, "%s", words);
    fault->offset = offset;
    fault->index = index;
    return error;
}

bool room_grow(void **data, size_t *room, size_t count, size_t size)
{
    if (count <= *room) return true;
    size_t wanted = *room < 16 ? 16 : *room;
    while (wanted < count) {
        if (wanted > SIZE_MAX / 2) return false;
        wanted *= 2;
    }
    if (wanted > SIZE_MAX / size) return false;
    void *grown = realloc(*data, wanted * size);
    if (grown == NULL) return false;
    *data = grown;
    *room = wanted;
    return true;
}

enum kelp_error room_list(struct disk disk, const char *path, struct file_entry **out,
                          size_t *count, struct kelp_fault *fault)
{
    *out = NULL;
    *count = 0;
    for (size_t max = 32;;) {
        struct file_entry *rows = calloc(max, sizeof *rows);
        if (rows == NULL) return fault_set(fault, KELP_E_NO_MEMORY, path, "list: out of memory");
        struct kelp_fault local = {0};
        size_t found = 0;
        enum kelp_error error = disk.ops->list(disk.state, path, rows, max, &found, &local);
        if (error == KELP_OK && found <= max) {
            *out = rows;
            *count = found;
            return KELP_OK;
        }
        free(rows);
        if (error == KELP_E_NOT_FOUND) return KELP_OK;
        if (error != KELP_OK) {
            if (fault->error == KELP_OK) *fault = local;
            return error;
        }
        max = found + 32;
    }
}

enum kelp_error room_remove(struct disk disk, const char *path, struct kelp_fault *fault)
{
    struct kelp_fault local = {0};
    enum kelp_error error = disk.ops->remove(disk.state, path, &local);
    if (error == KELP_OK || error == KELP_E_NOT_FOUND) return KELP_OK;
    if (fault->error == KELP_OK) *fault = local;
    return error;
}

void room_note(const struct store_options *options, enum kelp_level level, const char *format, ...)
{
    if (options->note == NULL) return;
    char line[320];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    options->note(options->note_ctx, (int)level, line);
}
