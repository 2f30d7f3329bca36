/* SPDX-License-Identifier: Apache-2.0 */
/* info.c - INFO: sections and field names as Redis has them, so that its monitors understand
 * them. */
#include <inttypes.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/version.h"
#include "proto/resp_reply.h"
#include "server/commands.h"
#include "server/endpoint.h"
#include "server/server.h"
#include "server/text.h"

#define INFO_BYTES (256u * 1024)

struct info {
    struct server *server;
    struct buf text;
    struct node_status status;
};

static bool leads(const struct info *i)
{
    return i->status.driver.view.role == KELP_LEADER;
}

static void server_section(struct info *i)
{
    struct server *s = i->server;
    struct endpoint at;
    uint64_t seconds = (uv_now(&s->loop) - s->started_ms) / 1000;
    (void)endpoint_split(s->settings.client, &at);
    text_add(&i->text,
             "# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\nkelp_version:%s\r\n"
             "kelp_commit:%s\r\nos:Linux\r\narch_bits:%zu\r\nmultiplexing_api:epoll\r\n"
             "process_id:%d\r\nrun_id:%016" PRIx64 "%024" PRIx64 "\r\ntcp_port:%u\r\n"
             "uptime_in_seconds:%" PRIu64 "\r\nuptime_in_days:%" PRIu64 "\r\nhz:4\r\n",
             version_program, version_commit, sizeof(void *) * 8, (int)getpid(),
             i->status.incarnation, i->status.id, (unsigned)at.port, seconds, seconds / 86400);
}

static void clients_section(struct info *i)
{
    const struct clients *all = &i->server->clients;
    text_add(&i->text,
             "# Clients\r\nconnected_clients:%" PRIu64 "\r\nmaxclients:%" PRIu64
             "\r\nblocked_clients:0\r\nopen_requests:%" PRIu64 "\r\nopen_request_bytes:%" PRIu64
             "\r\n",
             all->count, settings_clients_room(&i->server->settings, all->descriptors),
             all->open_count, all->open_bytes);
}

static void memory_section(struct info *i)
{
    size_t resident = 0;
    struct mallinfo2 heap = mallinfo2();
    (void)uv_resident_set_memory(&resident); /* 0 says that it is not known */
    text_add(&i->text,
             "# Memory\r\nused_memory:%zu\r\nused_memory_rss:%zu\r\nused_memory_dataset:%" PRIu64
             "\r\nlog_cache_bytes:%" PRIu64 "\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
             "mem_allocator:libc\r\n",
             heap.uordblks + heap.hblkhd, resident, kv_memory_bytes(i->server->kv),
             i->status.driver.cache_bytes);
}

static void persistence_section(struct info *i)
{
    const struct driver_status *d = &i->status.driver;
    text_add(&i->text, "# Persistence\r\nloading:%d\r\n", d->replaying ? 1 : 0);
    if (d->replaying)
        text_add(&i->text, "loading_loaded_perc:%u\r\nloading_entries_per_sec:%" PRIu64 "\r\n",
                 d->replay.percent, d->replay.entries_per_s);
    if (d->replay.left_ms > 0) /* else it is not known */
        text_add(&i->text, "loading_eta_seconds:%" PRIu64 "\r\n", (d->replay.left_ms + 999) / 1000);
    text_add(&i->text,
             "async_loading:0\r\naof_enabled:1\r\naof_last_write_status:%s\r\n"
             "rdb_bgsave_in_progress:0\r\n",
             d->state == DRIVER_FAULTED ? "err" : "ok");
}

static void stats_section(struct info *i)
{
    const struct clients *all = &i->server->clients;
    const struct driver_status *d = &i->status.driver;
    text_add(&i->text,
             "# Stats\r\ntotal_connections_received:%" PRIu64
             "\r\ntotal_commands_processed:%" PRIu64 "\r\ninstantaneous_ops_per_sec:%" PRIu64
             "\r\ntotal_net_input_bytes:%" PRIu64 "\r\ntotal_net_output_bytes:%" PRIu64
             "\r\nrejected_connections:%" PRIu64
             "\r\nclient_output_buffer_limit_disconnections:%" PRIu64 "\r\n",
             all->accepted, all->commands, all->commands_a_second, all->bytes_in, all->bytes_out,
             all->rejected, all->closed_slow);
    text_add(&i->text,
             "protocol_errors:%" PRIu64 "\r\nrequests_done:%" PRIu64 "\r\nrequests_refused:%" PRIu64
             "\r\nrequests_lost:%" PRIu64 "\r\nrequests_uncertain:%" PRIu64 "\r\n",
             all->protocol_errors, d->done, d->refused, d->lost, d->unknown);
}

static void replication_section(struct info *i)
{
    const struct kelp_view *view = &i->status.driver.view;
    struct endpoint at;
    text_add(&i->text, "# Replication\r\nrole:%s\r\n", leads(i) ? "master" : "slave");
    if (!leads(i)) {
        (void)endpoint_split(server_client_address(i->server, view->leader), &at);
        text_add(&i->text,
                 "master_host:%s\r\nmaster_port:%u\r\nmaster_link_status:%s\r\n"
                 "slave_repl_offset:%" PRIu64 "\r\nslave_read_only:0\r\n",
                 at.host, (unsigned)at.port, view->leader != 0 ? "up" : "down", view->applied);
    }
    unsigned slaves = 0;
    for (uint32_t p = 0; leads(i) && p < view->peer_count; p++)
        slaves += view->peers[p].id != view->self;
    text_add(&i->text, "connected_slaves:%u\r\n", slaves);
    unsigned number = 0;
    for (uint32_t p = 0; leads(i) && p < view->peer_count; p++) {
        const struct kelp_peer_view *peer = &view->peers[p];
        if (peer->id == view->self) continue;
        (void)endpoint_split(server_client_address(i->server, peer->id), &at);
        text_add(&i->text, "slave%u:ip=%s,port=%u,state=%s,offset=%" PRIu64 ",lag=%" PRIu64 "\r\n",
                 number++, at.host, (unsigned)at.port,
                 peer->flow == KELP_STREAM ? "online" : "wait", peer->match,
                 view->last > peer->match ? view->last - peer->match : 0);
    }
    text_add(&i->text, "master_failover_state:no-failover\r\nmaster_repl_offset:%" PRIu64 "\r\n",
             view->commit);
}

static void cpu_section(struct info *i)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return;
    text_add(&i->text, "# CPU\r\nused_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n",
             (long)usage.ru_stime.tv_sec, (long)usage.ru_stime.tv_usec, (long)usage.ru_utime.tv_sec,
             (long)usage.ru_utime.tv_usec);
}

static void cluster_section(struct info *i)
{
    (void)buf_append_text(&i->text, "# Cluster\r\ncluster_enabled:1\r\n");
}

static void keyspace_section(struct info *i)
{
    uint64_t keys = kv_key_count(i->server->kv);
    struct kv_timed timed = kv_timed(i->server->kv);
    (void)buf_append_text(&i->text, "# Keyspace\r\n");
    if (keys > 0)
        text_add(&i->text, "db0:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=%" PRIu64 "\r\n", keys,
                 timed.keys, timed.ttl_ms);
}

static const struct section {
    const char *name;
    void (*write)(struct info *i);
} sections[] = {
    {"server", server_section},     {"clients", clients_section},
    {"memory", memory_section},     {"persistence", persistence_section},
    {"stats", stats_section},       {"replication", replication_section},
    {"cpu", cpu_section},           {"cluster", cluster_section},
    {"keyspace", keyspace_section},
};

static bool asked(const struct call *call, const char *name)
{
    if (call->argc == 1) return true;
    for (size_t i = 1; i < call->argc; i++) {
        struct kelp_bytes word = call->argv[i];
        if (word_is(word, name) || word_is(word, "all") || word_is(word, "default") ||
            word_is(word, "everything"))
            return true;
    }
    return false;
}

void run_info(const struct call *call)
{
    struct info info = {.server = call->server};
    buf_init(&info.text, INFO_BYTES);
    node_status(call->server->node, &info.status);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (!asked(call, sections[i].name)) continue;
        if (info.text.len > 0) (void)buf_append_text(&info.text, "\r\n");
        sections[i].write(&info);
    }
    (void)resp_bulk(call->reply, buf_bytes(&info.text));
    buf_close(&info.text);
}
