/* SPDX-License-Identifier: Apache-2.0 */
/* transport.h - the peers port: what Kelp asks of whatever carries frames between nodes.
 *
 * A transport moves bytes and decides nothing. It may lose, delay, repeat and reorder whole frames;
 * it must not
 * change them (frames carry a checksum all the same). Three lanes a peer: control must stay fast
 * and carries nothing
 * above 4 KiB; entries and snapshots may queue behind themselves. */
#ifndef KELP_TRANSPORT_H
#define KELP_TRANSPORT_H

#include "kelp/types.h"

#define KELP_CONTROL_FRAME_MAX 4096u /* bytes of a frame on the control lane */

enum kelp_lane { KELP_LANE_CONTROL = 0, KELP_LANE_ENTRIES = 1, KELP_LANE_SNAPSHOT = 2 };
#define KELP_LANES 3u

struct kelp_peers_ops {
    size_t size; /* sizeof(struct kelp_peers_ops), so that it may grow */

    /* Queue one frame, given as parts. The parts are borrowed until flush returns. connection 0:
     * whichever is
     * open; else only that one. KELP_E_CLOSED: there is none; KELP_E_LIMIT: its queue is full.
     * Either way the
     * frame is gone. */
    enum kelp_error (*send)(void *peers, uint32_t group, kelp_id to, enum kelp_lane lane,
                            uint64_t connection, const struct kelp_bytes *parts, size_t part_count);

    /* Everything of this wake-up has been queued: write it out, one gathered write a connection. */
    void (*flush)(void *peers);

    /* The connection that a send on this lane would use now, 0 if none. Numbers are never used
     * twice. */
    uint64_t (*connection)(void *peers, kelp_id to, enum kelp_lane lane);
};

#endif
