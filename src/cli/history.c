/* SPDX-License-Identifier: Apache-2.0 */
/* history.c - parsing what history.h describes. */
#include "cli/history.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/min.h"

#define TEXT_SHOWN_MAX 40u

static bool wrong(struct history *h, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct history *h, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(h->wrong, sizeof h->wrong, format, arguments);
    va_end(arguments);
    return false;
}

static bool no_memory(struct history *h)
{
    return wrong(h, "out of memory");
}

/* ---- room ---- */

static bool operation_reserve(struct history *h)
{
    if (h->count < h->room) return true;
    if (h->count == HISTORY_OPERATIONS_MAX)
        return wrong(h, "more than %u operations", HISTORY_OPERATIONS_MAX);
    size_t room = max_u64(1024, 2 * h->room);
    struct kelp_sim_operation *operations = realloc(h->operations, room * sizeof *operations);
    if (operations != NULL) h->operations = operations;
    size_t *items_at = realloc(h->items_at, room * sizeof *items_at);
    if (items_at != NULL) h->items_at = items_at;
    if (operations == NULL || items_at == NULL) return no_memory(h);
    h->room = room;
    return true;
}

static bool items_reserve(struct history *h, size_t more)
{
    if (more > HISTORY_ITEMS_MAX - h->item_count)
        return wrong(h, "more than %u elements in all", HISTORY_ITEMS_MAX);
    if (h->item_count + more <= h->item_room) return true;
    size_t room = max_u64(2 * h->item_room, h->item_count + max_u64(more, 1024));
    struct kelp_sim_item *items = realloc(h->items, room * sizeof *items);
    if (items == NULL) return no_memory(h);
    h->items = items;
    h->item_room = room;
    return true;
}

static size_t text_slot(const struct history *h, const char *text, size_t len)
{
    size_t slot = hash_bytes((struct kelp_bytes){(const uint8_t *)text, len}, 0);
    for (slot &= h->text_table_room - 1; h->text_table[slot] != 0;
         slot = (slot + 1) & (h->text_table_room - 1)) {
        if (strcmp(h->texts[h->text_table[slot] - 1], text) == 0) break;
    }
    return slot;
}

static bool texts_reserve(struct history *h)
{
    if (2 * (h->text_count + 1) <= h->text_table_room) return true;
    size_t room = max_u64(1024, 2 * h->text_table_room);
    char **texts = realloc(h->texts, room / 2 * sizeof *texts);
    if (texts != NULL) h->texts = texts;
    uint32_t *table = calloc(room, sizeof *table);
    if (texts == NULL || table == NULL) {
        free(table);
        return no_memory(h);
    }
    free(h->text_table);
    h->text_table = table;
    h->text_table_room = room;
    for (uint32_t i = 0; i < h->text_count; i++)
        table[text_slot(h, texts[i], strlen(texts[i]))] = i + 1;
    return true;
}

/* The number of a string, the same for equal ones. */
static bool text_number(struct history *h, const char *text, size_t len, uint32_t *number)
{
    if (!texts_reserve(h)) return false;
    size_t slot = text_slot(h, text, len);
    if (h->text_table[slot] == 0) {
        if (h->text_count == HISTORY_TEXTS_MAX || len > HISTORY_TEXT_BYTES_MAX - h->text_bytes)
            return wrong(h, "more than %u different strings or %u bytes of them", HISTORY_TEXTS_MAX,
                         HISTORY_TEXT_BYTES_MAX);
        char *copy = malloc(len + 1);
        if (copy == NULL) return no_memory(h);
        memcpy(copy, text, len + 1);
        h->texts[h->text_count++] = copy;
        h->text_bytes += len;
        h->text_table[slot] = (uint32_t)h->text_count;
    }
    *number = h->text_table[slot] - 1;
    return true;
}

/* ---- fields ---- */

static bool value_of(struct history *h, const json_t *json, const char *field, uint64_t *out)
{
    uint32_t number;
    if (json_is_null(json)) {
        *out = KELP_SIM_NOTHING;
        return true;
    }
    if (json_is_integer(json) && json_integer_value(json) >= 0) {
        *out = (uint64_t)json_integer_value(json);
        return true;
    }
    if (!json_is_string(json))
        return wrong(h, "%s: a value must be a string, a number from 0 on, or null", field);
    if (!text_number(h, json_string_value(json), json_string_length(json), &number)) return false;
    *out = HISTORY_STRING + number;
    return true;
}

static bool key_of(struct history *h, const json_t *json, uint32_t *out)
{
    if (!json_is_string(json)) return wrong(h, "key: a key must be a string");
    return text_number(h, json_string_value(json), json_string_length(json), out);
}

static bool time_of(struct history *h, const json_t *line, const char *field, kelp_ns *out)
{
    const json_t *json = json_object_get(line, field);
    if (!json_is_integer(json) || json_integer_value(json) < 0)
        return wrong(h, "%s: must be a number of nanoseconds from 0 on", field);
    *out = (kelp_ns)json_integer_value(json);
    return true;
}

static bool process_of(struct history *h, const json_t *line, uint64_t *out)
{
    const json_t *json = json_object_get(line, "process");
    if (json == NULL || json_is_null(json))
        return wrong(h, "process: must be a number or a string");
    return value_of(h, json, "process", out);
}

static bool outcome_of(struct history *h, const json_t *line, struct kelp_sim_operation *o)
{
    const char *outcome = json_string_value(json_object_get(line, "outcome"));
    if (outcome == NULL) return wrong(h, "outcome: must be \"ok\", \"unknown\" or \"refused\"");
    if (strcmp(outcome, "ok") == 0)
        o->said = KELP_SIM_OK;
    else if (strcmp(outcome, "unknown") == 0)
        o->said = KELP_SIM_UNKNOWN;
    else if (strcmp(outcome, "refused") == 0)
        o->said = KELP_SIM_REFUSED;
    else
        return wrong(h, "outcome: \"%.40s\" must be \"ok\", \"unknown\" or \"refused\"", outcome);
    const json_t *back = json_object_get(line, "return");
    o->back = KELP_NEVER;
    if (back == NULL) return wrong(h, "return: is missing; null if there was none");
    if (!json_is_null(back)) return time_of(h, line, "return", &o->back);
    return o->said != KELP_SIM_OK || wrong(h, "return: must be a number where the outcome is ok");
}

static bool action_of(struct history *h, const json_t *line, struct kelp_sim_operation *o)
{
    const char *name = json_string_value(json_object_get(line, "op"));
    for (unsigned action = 0; name != NULL && action < KELP_SIM_ACTION_COUNT; action++) {
        o->action = (enum kelp_sim_action)action;
        if (strcmp(name, kelp_sim_action_name(o->action)) == 0) return true;
    }
    return wrong(h, "op: \"%.40s\" must be read, write, cas, incr, append, mset or mget",
                 name != NULL ? name : "");
}

/* ---- what the actions take ---- */

static bool list_of(struct history *h, const json_t *json, struct kelp_sim_operation *o)
{
    size_t count = json_array_size(json);
    o->action = KELP_SIM_LIST;
    if (!items_reserve(h, count)) return false;
    for (size_t i = 0; i < count; i++) {
        struct kelp_sim_item item = {0};
        if (!value_of(h, json_array_get(json, i), "result", &item.value)) return false;
        h->items[h->item_count++] = item;
    }
    o->item_count = count;
    return true;
}

static bool read_of(struct history *h, const json_t *line, struct kelp_sim_operation *o)
{
    const json_t *result = json_object_get(line, "result");
    if (o->said != KELP_SIM_OK) return true;
    if (result == NULL) return wrong(h, "result: a read that is ok must have one, perhaps null");
    return json_is_array(result) ? list_of(h, result, o) : value_of(h, result, "result", &o->value);
}

static bool write_of(struct history *h, const json_t *line, struct kelp_sim_operation *o)
{
    const json_t *value = json_object_get(line, "value");
    if (value == NULL || json_is_null(value))
        return wrong(h, "value: must be a string or a number from 0 on");
    return value_of(h, value, "value", &o->value);
}

static bool cas_of(struct history *h, const json_t *line, struct kelp_sim_operation *o)
{
    const json_t *value = json_object_get(line, "value"), *was = json_object_get(line, "was");
    const json_t *result = json_object_get(line, "result");
    if (json_array_size(value) != 2 || json_is_null(json_array_get(value, 1)))
        return wrong(h, "value: a cas takes [expected, new]; only expected may be null");
    if (!value_of(h, json_array_get(value, 0), "value", &o->expected) ||
        !value_of(h, json_array_get(value, 1), "value", &o->value))
        return false;
    if (o->said != KELP_SIM_OK) return true;
    if (!json_is_boolean(result)) return wrong(h, "result: a cas that is ok has true or false");
    o->swapped = json_is_true(result);
    return was == NULL || value_of(h, was, "was", &o->seen);
}

static bool number_of(struct history *h, const json_t *line, struct kelp_sim_operation *o)
{
    const json_t *result = json_object_get(line, "result");
    bool append = o->action == KELP_SIM_APPEND;
    if (o->said != KELP_SIM_OK || (append && (result == NULL || json_is_null(result)))) return true;
    if (!json_is_integer(result) || json_integer_value(result) < 1)
        return wrong(h, append ? "result: of an append must be the new length, from 1 on, or null"
                               : "result: of an incr must be the new number, from 1 on");
    o->number = (uint64_t)json_integer_value(result);
    return true;
}

static bool together_of(struct history *h, const json_t *line, struct kelp_sim_operation *o)
{
    bool reads = o->action == KELP_SIM_MGET;
    const char *field = reads ? "result" : "value";
    const json_t *keys = json_object_get(line, "key"), *values = json_object_get(line, field);
    size_t count = json_array_size(keys);
    bool told = !reads || o->said == KELP_SIM_OK;
    if (count == 0) return wrong(h, "key: must be an array of keys, at least one");
    if (count > KELP_SIM_TOGETHER_MAX)
        return wrong(h, "key: names %zu keys, at most %u", count, KELP_SIM_TOGETHER_MAX);
    if (told && json_array_size(values) != count)
        return wrong(h, "%s: must be an array of %zu values, one a key", field, count);
    if (!items_reserve(h, count)) return false;
    for (size_t i = 0; i < count; i++) {
        struct kelp_sim_item item = {.value = KELP_SIM_NOTHING};
        if (!key_of(h, json_array_get(keys, i), &item.key)) return false;
        if (told && !value_of(h, json_array_get(values, i), field, &item.value)) return false;
        if (!reads && item.value == KELP_SIM_NOTHING) return wrong(h, "value: cannot write null");
        h->items[h->item_count++] = item;
    }
    o->item_count = count;
    return true;
}

static bool operation_of(struct history *h, const json_t *line, struct kelp_sim_operation *o)
{
    *o = (struct kelp_sim_operation){.seen = KELP_SIM_UNTOLD};
    if (!process_of(h, line, &o->process) || !action_of(h, line, o) || !outcome_of(h, line, o) ||
        !time_of(h, line, "call", &o->call))
        return false;
    if (o->action == KELP_SIM_MSET || o->action == KELP_SIM_MGET) return together_of(h, line, o);
    if (!key_of(h, json_object_get(line, "key"), &o->key)) return false;
    switch (o->action) {
    case KELP_SIM_READ: return read_of(h, line, o);
    case KELP_SIM_WRITE: return write_of(h, line, o);
    case KELP_SIM_CAS: return cas_of(h, line, o);
    case KELP_SIM_APPEND: return write_of(h, line, o) && number_of(h, line, o);
    case KELP_SIM_INCR: return number_of(h, line, o);
    case KELP_SIM_LIST:
    case KELP_SIM_MSET:
    case KELP_SIM_MGET: break;
    }
    return wrong(h, "op: is of no known kind");
}

/* ---- lines ---- */

static bool line_parse(struct history *h, const char *bytes, size_t len)
{
    json_error_t error;
    json_t *line = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &error);
    if (line == NULL) return wrong(h, "column %d: %s", error.column, error.text);
    struct kelp_sim_operation o;
    size_t items_at = h->item_count;
    bool good = json_is_object(line) ? operation_of(h, line, &o)
                                     : wrong(h, "a line must be one JSON object");
    json_decref(line);
    if (!good || !operation_reserve(h)) return false;
    h->items_at[h->count] = items_at;
    h->operations[h->count++] = o;
    return true;
}

/* One line without its end into room; -1: there is none left, -2: it is too long. */
static long line_read(FILE *in, char *room)
{
    size_t len = 0;
    int c;
    while ((c = getc_unlocked(in)) != EOF && c != '\n') {
        if (len == HISTORY_LINE_BYTES_MAX) return -2;
        room[len++] = (char)c;
    }
    return c == EOF && len == 0 ? -1 : (long)len;
}

static bool lines_read(FILE *in, struct history *h, char *room)
{
    for (;;) {
        long len = line_read(in, room);
        h->wrong_line = h->count + 1;
        if (ferror(in)) return wrong(h, "cannot be read");
        if (len == -1) return true;
        if (len == -2) return wrong(h, "is longer than %u bytes", HISTORY_LINE_BYTES_MAX);
        if (len == 0) return wrong(h, "is empty; every line is one operation");
        if (!line_parse(h, room, (size_t)len)) return false;
    }
}

bool history_read(FILE *in, struct history *h)
{
    char *room = malloc(HISTORY_LINE_BYTES_MAX);
    if (room == NULL) return no_memory(h);
    bool good = lines_read(in, h, room);
    free(room);
    for (size_t i = 0; good && i < h->count; i++) { /* the items move no more */
        if (h->operations[i].item_count > 0) h->operations[i].items = h->items + h->items_at[i];
    }
    return good;
}

void history_free(struct history *h)
{
    for (size_t i = 0; i < h->text_count; i++)
        free(h->texts[i]);
    free(h->texts);
    free(h->text_table);
    free(h->operations);
    free(h->items);
    free(h->items_at);
}

/* ---- words ---- */

struct words {
    char *out;
    size_t size, len;
};

static void say(struct words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct words *w, const char *format, ...)
{
    va_list arguments;
    if (w->len >= w->size) return;
    va_start(arguments, format);
    int len = vsnprintf(w->out + w->len, w->size - w->len, format, arguments);
    va_end(arguments);
    if (len > 0) w->len += (size_t)len;
}

/* Of a string what fits a line, whole characters only. */
static void say_text(struct words *w, const char *text)
{
    size_t len = strnlen(text, TEXT_SHOWN_MAX + 1);
    if (len > TEXT_SHOWN_MAX) {
        len = TEXT_SHOWN_MAX;
        while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80)
            len--;
    }
    say(w, "%.*s%s", (int)len, text, text[len] != '\0' ? "..." : "");
}

static void say_value(struct words *w, const struct history *h, uint64_t value)
{
    if (value == KELP_SIM_NOTHING)
        say(w, "nothing");
    else if (value >= HISTORY_STRING && value - HISTORY_STRING < h->text_count)
        say_text(w, h->texts[value - HISTORY_STRING]);
    else
        say(w, "%llu", (unsigned long long)value);
}

static void say_items(struct words *w, const struct history *h, const struct kelp_sim_operation *o)
{
    bool list = o->action == KELP_SIM_LIST;
    if (list) {
        say_text(w, h->texts[o->key]);
        say(w, " = [");
    }
    for (size_t i = 0; i < o->item_count; i++) {
        if (i > 0) say(w, " ");
        if (i == 16 && o->item_count > 20) {
            say(w, "... %zu more", o->item_count - i);
            break;
        }
        if (!list) {
            say_text(w, h->texts[o->items[i].key]);
            say(w, " = ");
        }
        say_value(w, h, o->items[i].value);
    }
    if (list) say(w, "]");
}

static void say_action(struct words *w, const struct history *h, const struct kelp_sim_operation *o)
{
    bool told = o->said == KELP_SIM_OK;
    say(w, "%s ", kelp_sim_action_name(o->action));
    if (o->item_count > 0 || o->action == KELP_SIM_LIST) {
        say_items(w, h, o);
        return;
    }
    say_text(w, h->texts[o->key]);
    if (o->action == KELP_SIM_CAS) {
        say(w, " from ");
        say_value(w, h, o->expected);
        say(w, " to ");
    } else if (o->action == KELP_SIM_APPEND) {
        say(w, " ");
    } else if (o->action != KELP_SIM_WRITE && !told) {
        return;
    } else {
        say(w, " = ");
    }
    if (o->action == KELP_SIM_INCR)
        say(w, "%llu", (unsigned long long)o->number);
    else
        say_value(w, h, o->value);
    if (o->action == KELP_SIM_CAS && told) say(w, o->swapped ? ", swapped" : ", not swapped");
    if (o->action == KELP_SIM_APPEND && told && o->number > 0)
        say(w, ", length %llu", (unsigned long long)o->number);
}

void history_words(const struct history *h, size_t operation, char *out, size_t size)
{
    const struct kelp_sim_operation *o = &h->operations[operation];
    struct words w = {out, size, 0};
    char back[24] = "";
    if (o->back != KELP_NEVER)
        (void)snprintf(back, sizeof back, "%llu", (unsigned long long)o->back);
    say(&w, "#%-5zu [%llu..%s]  process ", operation + 1, (unsigned long long)o->call, back);
    say_value(&w, h, o->process);
    say(&w, "  ");
    say_action(&w, h, o);
    if (o->said == KELP_SIM_UNKNOWN) say(&w, ", outcome unknown");
    if (o->said == KELP_SIM_REFUSED) say(&w, ", refused");
    for (char *c = out; *c != '\0'; c++) { /* a file must not move the reader's cursor */
        if ((uint8_t)*c < ' ' || *c == 0x7f) *c = '?';
    }
}
