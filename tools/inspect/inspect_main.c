/*
 * nightlight-inspect - an offline look at a store; changes nothing.
 *
 * usage: nightlight-inspect [--head=DIR] STORE
 *
 * Exit: 0 everything checks out, 1 something does not, 2 could not look.
 */
#include "inspect.h"

#include <stdarg.h>
#include <stdio.h>

#include "nlt_guard.h"
#include "nlt_time.h"

#define HEAD_DIR "/dev/shm" /* default of head= */

void
inspect_fault(inspect_t *in, const char *fmt, ...)
{
    va_list args;

    in->n_faults++;
    printf("  CORRUPT: ");
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

const char *
inspect_range(char out[RANGE_TEXT], int64_t t_min_ms, int64_t t_max_ms)
{
    char from[40], to[40];

    if (t_min_ms > t_max_ms) {
        return "no samples";
    }
    (void) nlt_time_print_rfc3339(from, t_min_ms);
    (void) nlt_time_print_rfc3339(to, t_max_ms);
    (void) snprintf(out, RANGE_TEXT, "%s .. %s", from, to);
    return out;
}

static void
inspect_manifest(inspect_t *in)
{
    nlt_manifest_t *m = &in->manifest;
    nlt_err_t err = {.text = ""};
    nlt_rc_t rc =
        nlt_manifest_load(m, in->env, in->dir.dir_fd, in->dir.store_id, &err);

    printf("manifest\n");
    if (rc == NLT_ENOENT) {
        printf("  none: nothing was flushed yet\n");
        return;
    }
    if (rc != NLT_OK) {
        inspect_fault(in, "%s", err.text);
        return;
    }
    printf("  generation %llu, %zu blocks, arenas below %llu finished",
           (unsigned long long) m->generation, m->n_blocks,
           (unsigned long long) m->floor);
    for (size_t i = 0; i < m->n_finished; i++) {
        printf("%s %llu", i ? "" : ", also",
               (unsigned long long) m->finished[i]);
    }
    printf("\n");
}

int
main(int argc, char **argv)
{
    inspect_t in = {.env = &nlt_env_posix};
    const char *head = HEAD_DIR, *path = NULL;
    nlt_store_conf_t conf;
    nlt_err_t err = {.text = ""};

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--head=", 7) == 0) {
            head = argv[i] + 7;
        } else if (argv[i][0] == '-' || path) {
            path = NULL;
            break;
        } else {
            path = argv[i];
        }
    }
    if (path == NULL) {
        fprintf(stderr, "usage: nightlight-inspect [--head=DIR] STORE\n"
                        "DIR is that of head=, by default " HEAD_DIR "\n");
        return 2;
    }
    (void) nlt_guard_install();
    conf = (nlt_store_conf_t){.path = path, .head_path = head};
    if (nlt_store_dir_open(in.env, &conf, &in.dir, &err) != NLT_OK) {
        fprintf(stderr, "nightlight-inspect: %s\n", err.text);
        return 2;
    }
    printf("store %s\n", path);
    nlt_manifest_init(&in.manifest, in.env->mem, in.dir.store_id);
    inspect_manifest(&in);
    inspect_logs(&in);
    inspect_blocks(&in);
    inspect_head(&in);
    nlt_manifest_deinit(&in.manifest);
    nlt_store_dir_close(in.env, &in.dir);
    printf("%s: %u logs, %u blocks, %u arenas, %u faults\n",
           in.n_faults ? "CORRUPT" : "ok", in.n_logs, in.n_blocks, in.n_arenas,
           in.n_faults);
    return in.n_faults ? 1 : 0;
}
