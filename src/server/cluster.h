/* SPDX-License-Identifier: Apache-2.0 */
/* cluster.h - what clients are told about the cluster: names of nodes, where they are, who
 * leads. */
#ifndef SERVER_CLUSTER_H
#define SERVER_CLUSTER_H

#include "kelp/types.h"

#define CLUSTER_ID_TEXT 41u /* 40 hex digits and a NUL */

struct server;

/* cluster_id_text - the name of a node as cluster clients know it: 24 digits of the cluster, 16 of
 * the node. */
void cluster_id_text(struct kelp_cluster_id cluster, kelp_id node, char out[CLUSTER_ID_TEXT]);

#endif
