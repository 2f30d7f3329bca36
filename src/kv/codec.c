/* SPDX-License-Identifier: Apache-2.0 */
/* codec.c - the command codec; see codec.h. */
#include "kv/codec.h"

#include "base/assert.h"

#define CODEC_VERSION 1u

static size_t varint_size(size_t v)
{
    size_t size = 1;
    for (; v >= 128; v >>= 7)
        size++;
    return size;
}

static void varint_write(struct writer *w, size_t v)
{
    for (; v >= 128; v >>= 7)
        write_u8(w, (uint8_t)(v | 128));
    write_u8(w, (uint8_t)v);
}

/* At most four bytes: every length and count is below 2^28. */
static size_t varint_read(struct reader *r)
{
    size_t v = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint8_t byte = read_u8(r);
        v |= (size_t)(byte & 127) << shift;
        if (byte < 128) {
            if (byte == 0 && shift > 0) r->failed = true; /* a needless byte */
            return v;
        }
    }
    r->failed = true;
    return 0;
}

size_t kv_command_size(const struct kelp_bytes *argv, size_t argc)
{
    ASSERT(argc >= 1);
    size_t size = 2 + varint_size(argc - 1);
    for (size_t i = 1; i < argc; i++)
        size += varint_size(argv[i].len) + argv[i].len;
    return size;
}

void kv_command_encode(const struct kv_command *command, const struct kelp_bytes *argv, size_t argc,
                       uint8_t *out)
{
    ASSERT(command->code != KV_NOT_LOGGED);
    ASSERT(argc <= KV_ARGS_MAX && kv_arity_fits(command, argc));
    struct writer w = writer_of(out, kv_command_size(argv, argc));
    write_u8(&w, CODEC_VERSION);
    write_u8(&w, command->code);
    varint_write(&w, argc - 1);
    for (size_t i = 1; i < argc; i++) {
        varint_write(&w, argv[i].len);
        write_bytes(&w, argv[i]);
    }
    ASSERT(!w.failed && w.at == w.end);
}

enum kelp_error kv_command_decode(struct kelp_bytes payload, const struct kv_command **command,
                                  struct kv_args *args, uint8_t *code)
{
    struct reader r = reader_of(payload);
    uint8_t version = read_u8(&r);
    *code = read_u8(&r);
    if (r.failed) return KELP_E_MALFORMED;
    *command = kv_command_of_code(*code);
    if (version != CODEC_VERSION || *command == NULL) return KELP_E_VERSION;
    size_t count = varint_read(&r);
    if (r.failed || count >= KV_ARGS_MAX || count > reader_left(&r)) return KELP_E_MALFORMED;
    if (!kv_arity_fits(*command, count + 1)) return KELP_E_MALFORMED;
    *args = (struct kv_args){.reader = r, .left = count};
    for (size_t i = 0; i < count; i++)
        (void)reader_skip(&r, varint_read(&r));
    return r.failed || reader_left(&r) != 0 ? KELP_E_MALFORMED : KELP_OK;
}

struct kelp_bytes kv_args_next(struct kv_args *args)
{
    if (args->left == 0) return bytes_of(NULL, 0);
    args->left--;
    struct kelp_bytes arg = read_bytes(&args->reader, varint_read(&args->reader));
    ASSERT(!args->reader.failed); /* kv_command_decode walked over it */
    return arg;
}
