/* SPDX-License-Identifier: Apache-2.0 */
/* codec_test.c - commands in the log: one encoding, golden bytes, every damage refused; and the
 * table's look-ups. */
#include "kv/codec.h"
#include "tests/kv/machine.h"

static enum kelp_error decode(const uint8_t *data, size_t len, const struct kv_command **command,
                              struct kv_args *args)
{
    uint8_t code = 0;
    uint8_t *exact = malloc(len + (len == 0)); /* its exact size, for the address sanitizer */
    assert_non_null(exact);
    if (len > 0) memcpy(exact, data, len);
    enum kelp_error error = kv_command_decode(bytes_of(exact, len), command, args, &code);
    free(exact);
    return error;
}

static void commands_have_these_bytes(void **state)
{
    (void)state;
    struct kelp_bytes argv[] = {text_bytes("SeT"), text_bytes("key"), text_bytes("")};
    struct buf payload = payload_of(argv, 3);
    static const uint8_t golden[] = {1, 2, 2, 3, 'k', 'e', 'y', 0};
    assert_true(bytes_equal(buf_bytes(&payload), bytes_of(golden, sizeof(golden))));
    buf_close(&payload);
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    struct prng random = {9};
    static uint8_t noise[40000];
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)prng_next(&random);
    const size_t lengths[] = {0, 1, 127, 128, 16383, 16384, 40000};
    for (int round = 0; round < 500; round++) {
        struct kelp_bytes argv[12] = {text_bytes("mget")};
        size_t argc = prng_between(&random, 2, 12);
        for (size_t i = 1; i < argc; i++)
            argv[i] = bytes_of(noise, lengths[prng_below(&random, COUNT_OF(lengths))]);
        struct buf payload = payload_of(argv, argc);
        const struct kv_command *command = NULL;
        struct kv_args args;
        uint8_t code = 0;
        assert_int_equal(kv_command_decode(buf_bytes(&payload), &command, &args, &code), KELP_OK);
        assert_string_equal(command->name, "mget");
        assert_int_equal(args.left, argc - 1);
        for (size_t i = 1; i < argc; i++)
            assert_true(bytes_equal(kv_args_next(&args), argv[i]));
        assert_int_equal(kv_args_next(&args).len, 0);
        buf_close(&payload);
    }
}

static void every_truncation_and_every_extension_is_refused(void **state)
{
    (void)state;
    char large[300] = {0};
    struct kelp_bytes argv[] = {text_bytes("mset"), text_bytes("k"), bytes_of(large, 300)};
    struct buf payload = payload_of(argv, 3);
    const struct kv_command *command = NULL;
    struct kv_args args;
    for (size_t len = 0; len < payload.len; len++)
        assert_int_not_equal(decode(payload.data, len, &command, &args), KELP_OK);
    assert_int_equal(decode(payload.data, payload.len, &command, &args), KELP_OK);
    uint8_t longer[400] = {0};
    memcpy(longer, payload.data, payload.len);
    assert_int_equal(decode(longer, payload.len + 1, &command, &args), KELP_E_MALFORMED);
    buf_close(&payload);
}

static void nonsense_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct row {
        uint8_t bytes[12];
        size_t len;
        enum kelp_error error;
    } rows[] = {
        {{1, 1, 1, 1, 'k'}, 5, KELP_OK},
        {{0, 1, 1, 1, 'k'}, 5, KELP_E_VERSION},
        {{2, 1, 1, 1, 'k'}, 5, KELP_E_VERSION},
        {{1, 0, 1, 1, 'k'}, 5, KELP_E_VERSION},
        {{1, KV_CODES, 1, 1, 'k'}, 5, KELP_E_VERSION},
        {{1, 255, 1, 1, 'k'}, 5, KELP_E_VERSION},
        {{1, 1, 0}, 3, KELP_E_MALFORMED},                 /* GET without a key */
        {{1, 1, 2, 1, 'k', 1, 'l'}, 7, KELP_E_MALFORMED}, /* GET with two */
        {{1, 1, 1, 2, 'k'}, 5, KELP_E_MALFORMED},         /* longer than what is there */
        {{1, 1, 1, 0x81, 0, 'k'}, 6, KELP_E_MALFORMED},   /* 1 with a needless byte */
        {{1, 1, 0x81, 0, 1, 'k'}, 6, KELP_E_MALFORMED},
        {{1, 4, 0xff, 0xff, 0xff, 0x7f, 0}, 7, KELP_E_MALFORMED}, /* a count beyond the bytes */
        {{1, 4, 0x80, 0x80, 0x80, 0x80, 1}, 7, KELP_E_MALFORMED}, /* a number of five bytes */
        {{1, 4, 1, 0xff, 0xff, 0xff, 0xff, 0xff}, 8, KELP_E_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct kv_command *command = NULL;
        struct kv_args args;
        assert_int_equal(decode(rows[i].bytes, rows[i].len, &command, &args), rows[i].error);
    }
}

static void random_bytes_are_decoded_or_refused(void **state)
{
    (void)state;
    struct prng random = {10};
    size_t good = 0;
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        size_t len = prng_below(&random, sizeof(bytes));
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)prng_below(&random, 5);
        if (len > 1) bytes[0] = 1;
        if (len > 2) bytes[1] = (uint8_t)prng_between(&random, 1, KV_CODES);
        uint8_t *exact = malloc(len + (len == 0));
        assert_non_null(exact);
        memcpy(exact, bytes, len);
        const struct kv_command *command = NULL;
        struct kv_args args;
        uint8_t code = 0;
        if (kv_command_decode(bytes_of(exact, len), &command, &args, &code) == KELP_OK) {
            good++;
            size_t sum = 0;
            while (args.left > 0)
                sum += kv_args_next(&args).len;
            assert_true(sum < len);
        }
        free(exact);
    }
    assert_true(good > 100);
}

static void names_are_found_in_any_case(void **state)
{
    (void)state;
    for (uint8_t code = 1; code < KV_CODES; code++) {
        const struct kv_command *c = kv_command_of_code(code);
        assert_non_null(c);
        assert_int_equal(c->code, code);
        assert_ptr_equal(kv_command_find(text_bytes(c->name)), c);
        assert_true(c->arity != 0 && c->run != NULL && c->summary != NULL);
        bool writes = (c->flags & KV_FLAG_WRITE) != 0, reads = (c->flags & KV_FLAG_READONLY) != 0;
        assert_true(writes != reads);
    }
    assert_ptr_equal(kv_command_find(text_bytes("FlushAll")), kv_command_of_code(KV_FLUSHALL));
    assert_null(kv_command_find(text_bytes("ge")));
    assert_null(kv_command_find(text_bytes("gets")));
    assert_null(kv_command_find(text_bytes("")));
    assert_null(kv_command_find(bytes_of("\x47\x45\x54\0", 4)));
    assert_null(kv_command_of_code(0));
    assert_null(kv_command_of_code(KV_CODES));
}

static void arity_counts_the_name(void **state)
{
    (void)state;
    const struct kv_command *get = kv_command_of_code(KV_GET), *set = kv_command_of_code(KV_SET);
    assert_false(kv_arity_fits(get, 1));
    assert_true(kv_arity_fits(get, 2));
    assert_false(kv_arity_fits(get, 3));
    assert_false(kv_arity_fits(set, 2));
    assert_true(kv_arity_fits(set, 3));
    assert_true(kv_arity_fits(set, 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_have_these_bytes),
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(every_truncation_and_every_extension_is_refused),
        cmocka_unit_test(nonsense_is_refused_with_its_reason),
        cmocka_unit_test(random_bytes_are_decoded_or_refused),
        cmocka_unit_test(names_are_found_in_any_case),
        cmocka_unit_test(arity_counts_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
