/* SPDX-License-Identifier: Apache-2.0 */
/* exhaust_tell.c - an action in words, as a line of the way to a broken rule. */
#include <stdio.h>

#include "sim/exhaust.h"

static void tell_packet(const struct cells *s, const char *verb, uint32_t packet, char *out,
                        size_t size)
{
    struct kelp_entry_info entries[LOG_MAX];
    char words[160];
    struct kelp_message m = packet_message(cells_packet(s, packet), entries);
    (void)kelp_describe_message(&m, words, sizeof words);
    (void)snprintf(out, size, "%s %s", verb, words);
}

void tell_action(const struct cells *s, struct action a, char *out, size_t size)
{
    unsigned node = a.node + 1;
    switch (a.act) {
    case ACT_START: (void)snprintf(out, size, "start"); break;
    case ACT_DELIVER: tell_packet(s, "deliver", a.argument, out, size); break;
    case ACT_REPEAT: tell_packet(s, "deliver and keep", a.argument, out, size); break;
    case ACT_DROP: tell_packet(s, "drop", a.argument, out, size); break;
    case ACT_TIMEOUT: (void)snprintf(out, size, "timeout %u", node); break;
    case ACT_BEAT: (void)snprintf(out, size, "beat %u", node); break;
    case ACT_LAPSE: (void)snprintf(out, size, "%u has not heard its leader for long", node); break;
    case ACT_PROPOSE: (void)snprintf(out, size, "propose at %u", node); break;
    case ACT_SAVED:
        (void)snprintf(out, size, "saved at %u: %u save%s", node, a.argument,
                       a.argument == 1 ? "" : "s");
        break;
    case ACT_CRASH:
        (void)snprintf(out, size, "crash and restart %u, %u part%s of its open saves kept", node,
                       a.argument, a.argument == 1 ? "" : "s");
        break;
    }
}
