/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - flags by argp and the file by libcyaml, both from the settings table; see options.h.
 *
 * The schema given to libcyaml has one optional string per setting: the library finds unknown and
 * repeated keys and says where, the ranges are checked by settings_set like everywhere. */
#include "server/options.h"

#include <argp.h>
#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "server/config.h"

#define FILE_BYTES_MAX (1 << 20) /* of a file that is read while the node waits */
#define KEY_BASE       0x1000    /* argp's keys of settings; those of the other flags are below */

enum { KEY_CONFIG = 0x100, KEY_SET, KEY_CHECK, KEY_SETTINGS };

struct parse {
    struct settings *settings;
    struct options kept;
    bool check_only;
    char error[SETTINGS_ERROR_MAX];
};

/* ---- flags ------------------------------------------------------------------------------- */

/* One line, where argp_error would add a second. */
static void __attribute__((format(printf, 1, 2), noreturn)) wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("kelp server: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static void assign(struct argp_state *state, const struct setting *row, const char *value)
{
    struct parse *p = state->input;
    p->kept.assignments[p->kept.count++] =
        (struct assignment){row, value}; /* room for argc of them */
}

static void assign_pair(struct argp_state *state, const char *pair)
{
    const char *equals = strchr(pair, '=');
    const struct setting *row = NULL;
    if (equals != NULL) row = settings_find(bytes_of(pair, (size_t)(equals - pair)));
    if (row == NULL)
        wrong("--set %s: must be KEY=VALUE with a key that --settings lists", pair);
    else
        assign(state, row, equals + 1);
}

static error_t flag(int key, char *value, struct argp_state *state)
{
    struct parse *p = state->input;
    if (key >= KEY_BASE && key < KEY_BASE + (int)settings_count) {
        assign(state, &settings_table[key - KEY_BASE], value);
        return 0;
    }
    switch (key) {
    case ARGP_KEY_INIT: state->err_stream = NULL; return 0; /* no "Try --help" as a second line */
    case KEY_CONFIG: p->kept.file = value; return 0;
    case KEY_SET: assign_pair(state, value); return 0;
    case KEY_CHECK: p->check_only = true; return 0;
    case KEY_SETTINGS: settings_print(stdout); exit(0);
    case ARGP_KEY_ARG: wrong("%s: not expected here", value);
    default: return ARGP_ERR_UNKNOWN;
    }
}

static void flags_read(struct parse *p, int argc, char **argv)
{
    struct argp_option options[SETTINGS_MAX + 5] = {{0}};
    size_t count = 0;
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *row = &settings_table[i];
        if ((row->flags & SETTING_FLAG) == 0) continue;
        const char *form = row->type == SETTING_CHOICE ? row->words : row->unit;
        if (row->type == SETTING_NUMBER && row->words != NULL) form = "N|auto";
        options[count++] = (struct argp_option){.name = row->key,
                                                .key = KEY_BASE + (int)i,
                                                .arg = form[0] != '\0' ? form : "N",
                                                .doc = row->sentence};
    }
    options[count++] = (struct argp_option){.name = "config",
                                            .key = KEY_CONFIG,
                                            .arg = "FILE.yaml",
                                            .doc = "Settings, one a line: KEY: VALUE"};
    options[count++] = (struct argp_option){.name = "set",
                                            .key = KEY_SET,
                                            .arg = "KEY=VALUE",
                                            .doc = "Any setting, as often as needed"};
    options[count++] = (struct argp_option){
        .name = "check", .key = KEY_CHECK, .doc = "Check the settings and stop"};
    options[count++] = (struct argp_option){
        .name = "settings", .key = KEY_SETTINGS, .doc = "List every setting and stop"};
    struct argp argp = {.options = options,
                        .parser = flag,
                        .doc =
                            "Run one node of a replicated store that Redis clients can talk to."};
    char name[] = "kelp server";
    argv[0] = name;
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, p) != 0) exit(2); /* it said why */
}

/* ---- the file ---------------------------------------------------------------------------- */

/* libcyaml reports in several lines; the first says what, a later one says where. */
static void __attribute__((format(printf, 3, 0)))
file_complaint(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
    struct parse *p = ctx;
    char line[256];
    (void)level;
    (void)vsnprintf(line, sizeof line, format, args);
    size_t len = strlen(p->error);
    line[strcspn(line, "\n")] = '\0';
    const char *words = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    words += strspn(words, " ");
    if (len == 0 || strstr(words, "line") != NULL)
        (void)snprintf(p->error + len, sizeof p->error - len, "%s%s", len > 0 ? ", " : "", words);
}

/* Where a key stands: libcyaml does not say. 0: not at the beginning of a line, so not known. */
static unsigned line_of(FILE *file, const char *key)
{
    char *text = NULL;
    size_t size = 0, key_len = strlen(key);
    unsigned line = 0, found = 0;
    rewind(file);
    while (found == 0 && getline(&text, &size, file) >= 0) {
        line++;
        const char *at = text[0] == '"' || text[0] == '\'' ? text + 1 : text;
        if (strncmp(at, key, key_len) != 0) continue;
        at += key_len + (at != text);
        at += strspn(at, " ");
        if (*at == ':') found = line;
    }
    free(text);
    return found;
}

static bool file_value(struct parse *p, FILE *file, const struct setting *row, const char *value)
{
    char why[SETTINGS_ERROR_MAX];
    unsigned line = file != NULL ? line_of(file, row->key) : 0;
    settings_say(p->settings, row, (struct setting_source){ORIGIN_FILE, line});
    if (settings_set(p->settings, row, value, why)) return true;
    if (line > 0)
        (void)snprintf(p->error, sizeof p->error, "%.150s:%u: %.300s", p->kept.file, line, why);
    else
        (void)snprintf(p->error, sizeof p->error, "%.150s: %.300s", p->kept.file, why);
    return false;
}

/* Of an unknown key libcyaml says where the value before it stands. */
static void file_wrong(struct parse *p, cyaml_err_t result)
{
    static const char unexpected[] = "Unexpected key: ";
    char why[SETTINGS_ERROR_MAX], key[64];
    unsigned line = 0;
    (void)snprintf(why, sizeof why, "%s", p->error[0] != '\0' ? p->error : cyaml_strerror(result));
    if (strncmp(why, unexpected, sizeof unexpected - 1) == 0) {
        const char *at = why + sizeof unexpected - 1;
        (void)snprintf(key, sizeof key, "%.*s", (int)strcspn(at, ","), at);
        FILE *file = fopen(p->kept.file, "re");
        if (file != NULL) {
            line = line_of(file, key);
            (void)fclose(file);
        }
    }
    if (line > 0)
        (void)snprintf(p->error, sizeof p->error, "%.200s:%u: %s: there is no such setting",
                       p->kept.file, line, key);
    else
        (void)snprintf(p->error, sizeof p->error, "%.200s: %.300s", p->kept.file, why);
}

static bool file_read(struct parse *p)
{
    cyaml_schema_field_t fields[SETTINGS_MAX + 1] = {{0}};
    for (size_t i = 0; i < settings_count; i++) {
        fields[i].key = settings_table[i].key;
        fields[i].data_offset = (uint32_t)(i * sizeof(char *));
        fields[i].value = (cyaml_schema_value_t){
            CYAML_VALUE_STRING(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char, 0, CYAML_UNLIMITED)};
    }
    cyaml_schema_value_t top = {.type = CYAML_MAPPING,
                                .flags = CYAML_FLAG_POINTER,
                                .data_size = (uint32_t)(settings_count * sizeof(char *)),
                                .mapping = {.fields = fields}};
    cyaml_config_t config = {
        .log_fn = file_complaint, .log_ctx = p, .mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};
    void *loaded = NULL;
    p->error[0] = '\0';
    cyaml_err_t result = cyaml_load_file(p->kept.file, &config, &top, &loaded, NULL);
    if (result != CYAML_OK) {
        file_wrong(p, result);
        return false;
    }
    char **values = loaded;
    FILE *lines = fopen(p->kept.file, "re"); /* without it the places are not known */
    bool fine = true;
    for (size_t i = 0; values != NULL && i < settings_count && fine; i++) {
        if (values[i] == NULL) continue;
        fine = file_value(p, lines, &settings_table[i], values[i]);
    }
    if (lines != NULL) (void)fclose(lines);
    (void)cyaml_free(&config, &top, loaded, 0);
    return fine;
}

/* ---- together ---------------------------------------------------------------------------- */

static bool assignments_set(struct parse *p)
{
    for (size_t i = 0; i < p->kept.count; i++) {
        const struct assignment *a = &p->kept.assignments[i];
        if (!settings_set(p->settings, a->row, a->value, p->error)) return false;
        settings_say(p->settings, a->row, (struct setting_source){.origin = ORIGIN_FLAG});
    }
    return true;
}

static bool all_read(struct parse *p)
{
    return (p->kept.file == NULL || file_read(p)) && assignments_set(p) &&
           settings_check(p->settings, p->error);
}

enum options_result options_read(int argc, char **argv, struct options *kept, struct settings *out)
{
    struct parse p = {.settings = out};
    *kept = (struct options){.file = NULL};
    p.kept.assignments = calloc((size_t)argc + 1, sizeof *p.kept.assignments);
    if (p.kept.assignments == NULL || !settings_init(out)) {
        (void)fprintf(stderr, "kelp server: %s\n", kelp_strerror(KELP_E_NO_MEMORY));
        free(p.kept.assignments);
        return OPTIONS_WRONG;
    }
    flags_read(&p, argc, argv);
    *kept = p.kept;
    if (!all_read(&p)) {
        (void)fprintf(stderr, "kelp server: %s\n", p.error);
        return OPTIONS_WRONG;
    }
    return p.check_only ? OPTIONS_CHECKED : OPTIONS_RUN;
}

void options_close(struct options *kept)
{
    free(kept->assignments);
    *kept = (struct options){.file = NULL};
}

/* A pipe would keep the loop waiting, and has been read already. */
static bool file_readable_again(const char *file, char *error)
{
    struct stat what;
    if (stat(file, &what) != 0)
        (void)snprintf(error, SETTINGS_ERROR_MAX, "%.200s: %s", file, strerror(errno));
    else if (!S_ISREG(what.st_mode))
        (void)snprintf(error, SETTINGS_ERROR_MAX, "%.200s: not a file that can be read again",
                       file);
    else if (what.st_size > FILE_BYTES_MAX)
        (void)snprintf(error, SETTINGS_ERROR_MAX, "%.200s: %lld bytes; must be at most %d", file,
                       (long long)what.st_size, FILE_BYTES_MAX);
    else
        return true;
    return false;
}

static bool read_by(bool (*reads)(struct parse *), const struct options *kept, struct settings *out,
                    char *error)
{
    struct parse p = {.settings = out, .kept = *kept};
    if (kept->file != NULL && !file_readable_again(kept->file, error)) return false;
    if (!settings_init(out)) {
        (void)snprintf(error, SETTINGS_ERROR_MAX, "%s", kelp_strerror(KELP_E_NO_MEMORY));
    } else if (reads(&p)) {
        return true;
    } else {
        memcpy(error, p.error, sizeof p.error);
    }
    settings_close(out);
    return false;
}

bool options_again(const struct options *kept, struct settings *out, char *error)
{
    return read_by(all_read, kept, out, error);
}

bool options_texts(const struct options *kept, struct settings *out, char *error)
{
    return read_by(file_read, kept, out, error);
}
