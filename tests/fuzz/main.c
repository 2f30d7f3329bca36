/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - runs a fuzz target over a folder of inputs, for compilers without libFuzzer.
 *
 * Each file is given whole and then cut short at up to 64 places, in a buffer of its exact length
 * so
 * that a sanitizer sees the first byte read beyond it. A folder without files is a failure: a test
 * that ran nothing has shown nothing. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUTS 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_copy(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static uint8_t *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    size_t room = 4096, used = 0;
    uint8_t *data = malloc(room);
    while (data != NULL) {
        used += fread(data + used, 1, room - used, file);
        if (used < room) break;
        uint8_t *more = realloc(data, room *= 2);
        if (more == NULL) free(data);
        data = more;
    }
    if (data != NULL && ferror(file)) {
        free(data);
        data = NULL;
    }
    fclose(file);
    *size = used;
    return data;
}

static unsigned run_folder(const char *folder)
{
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort);
    if (count < 0) {
        fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        exit(1);
    }
    unsigned ran = 0;
    for (int slot = 0; slot < count; slot++) {
        char path[4096];
        size_t size = 0;
        bool hidden = names[slot]->d_name[0] == '.';
        snprintf(path, sizeof path, "%s/%s", folder, names[slot]->d_name);
        free(names[slot]);
        if (hidden) continue;
        uint8_t *data = read_whole(path, &size);
        if (data == NULL) {
            fprintf(stderr, "%s: cannot be read\n", path);
            exit(1);
        }
        run_copy(data, size);
        size_t step = size / CUTS + 1;
        for (size_t cut = 0; cut < size; cut += step)
            run_copy(data, cut);
        free(data);
        ran++;
    }
    free(names);
    return ran;
}

int main(int argc, char **argv)
{
    unsigned ran = 0;
    for (int slot = 1; slot < argc; slot++)
        ran += run_folder(argv[slot]);
    printf("%u inputs\n", ran);
    return ran > 0 ? 0 : 1;
}
