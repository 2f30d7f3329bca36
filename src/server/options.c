/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - flags by argp and the file by libcyaml, both from the settings table; see options.h.
 *
 * The schema given to libcyaml has one optional string per setting: the library finds unknown and
 * repeated keys and says where, the ranges are checked by settings_set like everywhere. */
#include "server/options.h"

#include <argp.h>
#include <cyaml/cyaml.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "server/config.h"

#define KEY_BASE 0x1000 /* argp's keys of settings; those of the other flags are below */

enum { KEY_CONFIG = 0x100, KEY_SET, KEY_CHECK, KEY_SETTINGS };

struct parse {
    struct settings *settings;
    const char *file;
    bool check_only;
    size_t count;
    struct assignment {
        const struct setting *row;
        const char *value;
    } * assignments;
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
    p->assignments[p->count++] = (struct assignment){row, value}; /* room for argc of them */
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
    case KEY_CONFIG: p->file = value; return 0;
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
    cyaml_err_t result = cyaml_load_file(p->file, &config, &top, &loaded, NULL);
    if (result != CYAML_OK) {
        char why[SETTINGS_ERROR_MAX];
        (void)snprintf(why, sizeof why, "%s",
                       p->error[0] != '\0' ? p->error : cyaml_strerror(result));
        (void)snprintf(p->error, sizeof p->error, "%.200s: %.300s", p->file, why);
        return false;
    }
    char **values = loaded;
    bool fine = true;
    for (size_t i = 0; values != NULL && i < settings_count && fine; i++) {
        if (values[i] == NULL) continue;
        fine = settings_set(p->settings, &settings_table[i], values[i], p->error);
    }
    (void)cyaml_free(&config, &top, loaded, 0);
    return fine;
}

/* ---- together ---------------------------------------------------------------------------- */

static bool assignments_set(struct parse *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct assignment *a = &p->assignments[i];
        if (!settings_set(p->settings, a->row, a->value, p->error)) return false;
    }
    return true;
}

enum options_result options_read(int argc, char **argv, struct settings *out)
{
    struct parse p = {.settings = out};
    p.assignments = calloc((size_t)argc + 1, sizeof *p.assignments);
    if (p.assignments == NULL || !settings_init(out)) {
        (void)fprintf(stderr, "kelp server: %s\n", kelp_strerror(KELP_E_NO_MEMORY));
        free(p.assignments);
        return OPTIONS_WRONG;
    }
    flags_read(&p, argc, argv);
    bool fine =
        (p.file == NULL || file_read(&p)) && assignments_set(&p) && settings_check(out, p.error);
    free(p.assignments);
    if (!fine) (void)fprintf(stderr, "kelp server: %s\n", p.error);
    if (!fine) return OPTIONS_WRONG;
    return p.check_only ? OPTIONS_CHECKED : OPTIONS_RUN;
}
