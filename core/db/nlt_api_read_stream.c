/*
 * nlt_api_read_stream.c - remote_read: answers of chunks, a part at a time.
 *
 * A frame has the chunks of one series, about 1 MiB of them at most; a part
 * has some frames.  Samples are read by windows of time and encoded anew, so
 * a chunk holds nothing that is deleted or out of range, and a series of any
 * length needs the memory of one window:
 *
 *     t_min |----|----|--------|---------------| ... t_max
 *            each window as long as the last one, twice as long if that had
 *            few samples, half as long if it had more than its budget holds
 */
#include "nlt_api_read.h"

#include "nlt_xor.h"

/* Of a frame, before the chunk that goes over it. */
#define FRAME_BYTES (1u << 20)

/* As Prometheus's own: readers decode a chunk as a whole. */
#define CHUNK_SAMPLES 120

/* The first window, and when the next one is longer. */
#define WINDOW_MS   ((int64_t) 24 * 60 * 60 * 1000)
#define WINDOW_FEW  8192
#define WINDOW_ROOM (4u << 20) /* bytes that the samples of one may need */

typedef struct {
    nlt_api_read_t *read;
    const nlt_mem_t *mem;
    size_t idx;           /* query */
    bool begun;           /* the walk is over its series */
    nlt_walk_item_t item; /* valid while the view is the same */
    bool open;            /* there is more of its series */
    int64_t t_next_ms;    /* from here */
    int64_t window_ms;
    int64_t good_ms;  /* a window that had samples, and room for them */
    nlt_buf_t series; /* the message of the frame */
    nlt_pool_t pool;  /* of samples */
    nlt_samples_t samples;
    size_t at; /* the next of samples to be encoded */
} stream_t;

static void
drop_samples(stream_t *s)
{
    nlt_pool_deinit(&s->pool);
    nlt_pool_init(&s->pool, s->mem, WINDOW_ROOM);
    s->samples = (nlt_samples_t){.pool = &s->pool};
    s->at = 0;
}

static void
stream_begin(nlt_api_t *a)
{
    stream_t *s = a->flow.ctx;

    s->idx = 0;
    s->begun = false;
    s->open = false;
    drop_samples(s);
    nlt_walk_deinit(&a->flow.walk);
}

static void
stream_end(nlt_api_t *a)
{
    stream_t *s = a->flow.ctx;

    nlt_pool_deinit(&s->pool);
    nlt_buf_deinit(&s->series);
    nlt_api_read_release(s->read);
}

/*
 * The samples of the next window that has any; t_next_ms moves behind it.
 * None: the series is done.
 */
static nlt_rc_t
read_window(nlt_api_t *a, stream_t *s, nlt_err_t *err)
{
    const nlt_series_set_t *set = s->item.set;
    int64_t t_max = s->item.sel->t_max_ms;

    s->samples.n = 0;
    s->at = 0;
    s->t_next_ms = nlt_max_i64(s->t_next_ms, a->view.t_oldest_ms);
    while (s->open && s->samples.n == 0) {
        int64_t end;
        nlt_rc_t rc;

        if (s->t_next_ms > t_max) {
            s->open = false;
            break;
        }
        /* unsigned: they may be at opposite ends of int64 */
        end = (uint64_t) t_max - (uint64_t) s->t_next_ms
                      < (uint64_t) s->window_ms
                  ? t_max
                  : s->t_next_ms + s->window_ms - 1;
        rc = set->source->ops->read(set, s->item.idx, NLT_READ_ALL,
                                    s->t_next_ms, end, &s->samples, err);
        if (rc == NLT_ENOMEM && s->pool.over_budget && s->window_ms > 1) {
            s->window_ms /= 2;
            drop_samples(s);
            continue;
        }
        if (rc != NLT_OK) {
            return rc;
        }
        s->open = end < t_max;
        s->t_next_ms = s->open ? end + 1 : t_max;
        if (s->samples.n > 0) {
            s->good_ms = s->window_ms;
        }
        if (s->samples.n < WINDOW_FEW && s->window_ms < INT64_MAX / 4) {
            s->window_ms *= 2;
        }
    }
    a->answer.samples_read += s->samples.n;
    return NLT_OK;
}

/* Encodes samples until the message is full or they are used up. */
static void
add_chunks(stream_t *s)
{
    uint8_t chunk[2 + CHUNK_SAMPLES * NLT_XOR_SAMPLE_BYTES_MAX + 8];

    while (s->at < s->samples.n && s->series.len < FRAME_BYTES) {
        const int64_t *t = s->samples.t_ms + s->at;
        size_t n = s->samples.n - s->at;
        size_t len;

        n = n < CHUNK_SAMPLES ? n : CHUNK_SAMPLES;
        len = nlt_xor_encode_chunk(t, s->samples.v + s->at, n, 0, chunk);
        nlt_rr_add_chunk(&s->series, t[0], t[n - 1],
                         (nlt_str_t){len, (const char *) chunk});
        s->at += n;
    }
}

/* Of "series": the labels, if the series has something in the range. */
static nlt_rc_t
add_names(nlt_api_t *a, stream_t *s, nlt_err_t *err)
{
    const nlt_series_set_t *set = s->item.set;
    nlt_rc_t rc = set->source->ops->read(
        set, s->item.idx, NLT_READ_NEWEST, s->item.sel->t_min_ms,
        s->item.sel->t_max_ms, &s->samples, err);

    s->open = false;
    s->at = s->samples.n;
    if (rc == NLT_OK && s->samples.n > 0) {
        nlt_rr_add_frame(&a->flow.buf, nlt_buf_str(&s->series), s->idx);
    }
    return rc;
}

/* One frame of the open series, unless nothing is left of it. */
static nlt_rc_t
add_frame(nlt_api_t *a, stream_t *s, nlt_err_t *err)
{
    size_t labels;
    nlt_rc_t rc = NLT_OK;

    nlt_buf_reset(&s->series);
    nlt_rr_add_labels(&s->series, s->item.labels);
    labels = s->series.len;
    if (nlt_api_read_only_names(&s->read->req.queries[s->idx])) {
        return add_names(a, s, err);
    }
    while (rc == NLT_OK && s->series.len < FRAME_BYTES
           && s->series.rc == NLT_OK) {
        if (s->at == s->samples.n) {
            if (!s->open) {
                break;
            }
            rc = read_window(a, s, err);
        }
        if (rc == NLT_OK) {
            add_chunks(s);
        }
    }
    if (rc == NLT_OK && s->series.rc != NLT_OK) {
        rc = nlt_err_set(err, s->series.rc, "a frame: %s",
                         nlt_rc_text(s->series.rc));
    }
    if (rc == NLT_OK && s->series.len > labels) {
        nlt_rr_add_frame(&a->flow.buf, nlt_buf_str(&s->series), s->idx);
    }
    return rc;
}

/* The next series; NLT_EOF: no more queries. */
static nlt_rc_t
next_series(nlt_api_t *a, stream_t *s, nlt_err_t *err)
{
    nlt_rc_t rc = NLT_EOF;

    while (rc == NLT_EOF) {
        if (s->idx == s->read->req.n_queries) {
            return NLT_EOF;
        }
        if (!s->begun) {
            nlt_walk_deinit(&a->flow.walk);
            nlt_walk_init(&a->flow.walk, a->env->mem, a->conf.memory_max,
                          &s->read->sels[s->idx], 1, a->conf.series_max,
                          nlt_labels_cmp);
            s->begun = true;
        }
        rc = nlt_walk_next(&a->flow.walk, &a->view.source, &s->item, err);
        if (rc == NLT_EOF) {
            s->idx++;
            s->begun = false;
        }
    }
    return rc;
}

static void
open_series(stream_t *s)
{
    s->open = true;
    s->t_next_ms = s->item.sel->t_min_ms;
    s->window_ms = s->good_ms;
    s->samples.n = 0;
    s->at = 0;
}

/*
 * The view is another one.  Goes on inside of the series that was open, if it
 * is still there; what was read of it by the old view is still right.
 */
static nlt_rc_t
resume(nlt_api_t *a, stream_t *s, nlt_err_t *err)
{
    nlt_rc_t rc = nlt_walk_next(&a->flow.walk, &a->view.source, &s->item, err);

    if (rc == NLT_EOF) {
        s->open = false;
        s->at = s->samples.n;
        return NLT_OK;
    }
    if (rc == NLT_OK && !nlt_labels_eq(a->flow.walk.last, s->item.labels)) {
        open_series(s);
    }
    return rc;
}

static nlt_rc_t
stream_make(nlt_api_t *a, nlt_err_t *err)
{
    stream_t *s = a->flow.ctx;
    nlt_rc_t rc = NLT_OK;

    if (a->flow.unfinished && !a->flow.walk.have) {
        rc = resume(a, s, err);
    }
    while (rc == NLT_OK && a->flow.buf.len < NLT_API_FLOW_BYTES) {
        if (!s->open && s->at == s->samples.n) {
            rc = next_series(a, s, err);
            if (rc != NLT_OK) {
                break;
            }
            open_series(s);
        }
        rc = add_frame(a, s, err);
    }
    a->flow.unfinished = s->open || s->at < s->samples.n;
    return rc;
}

static const nlt_api_flow_ops_t stream_ops = {
    .begin = stream_begin,
    .make = stream_make,
    .end = stream_end,
};

void
nlt_api_read_stream(nlt_api_t *a, nlt_api_read_t *r)
{
    stream_t *s = nlt_pool_zalloc(&a->pool, sizeof(*s));

    if (s == NULL) {
        nlt_api_read_release(r);
        nlt_api_fail(a, "execution", 422, "out of memory");
        return;
    }
    s->read = r;
    s->mem = a->env->mem;
    s->good_ms = WINDOW_MS;
    nlt_pool_init(&s->pool, s->mem, WINDOW_ROOM);
    /* a frame, and the chunk that goes over it */
    nlt_buf_init(&s->series, s->mem, 2 * FRAME_BYTES);
    a->answer.status = 200;
    a->answer.content_type = NLT_STR(NLT_RR_TYPE_STREAMED);
    nlt_api_flow_run(a, &stream_ops, s);
}
