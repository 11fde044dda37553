/*
 * nlt_api_flow.h - answers that are made while they are sent.
 *
 * Floor 4 (db); uses nlt_walk, store.
 *
 * Most answers are computed as a whole and then rendered.  A flow is made
 * part by part, each in a thread, the next one when the client has taken the
 * one before; so it costs the memory of a part, however long it is.
 *
 *     thread         nlt_api_run()   first part       status is known
 *     event loop     render ... render, needs_work
 *     thread         nlt_api_more()  next part
 *     event loop     render ... render, needs_work, (client sleeps: idle)
 *     thread         nlt_api_more()  last part
 *     event loop     render ... done
 *
 * The price: what goes wrong after the first part can only be told by
 * breaking the connection off.
 *
 * The view is kept from part to part, but not for ever: see nlt_walk.h.
 */
#ifndef NLT_DB_API_FLOW_H
#define NLT_DB_API_FLOW_H

#include "nlt_walk.h"
#include "nightlight.h"
#include "nlt_value.h"

/* A part has at least this many bytes, unless it is the last. */
#define NLT_API_FLOW_BYTES (256u << 10)

/* A view older than this is given back at the end of a part. */
#define NLT_API_FLOW_VIEW_NS (10 * INT64_C(1000000000))

typedef struct {
    /*
     * Makes a->flow.walk and ctx ready to begin, or to begin anew: what was
     * made so far is forgotten.
     */
    void (*begin)(nlt_api_t *a);
    /*
     * Appends the next part to a->flow.buf.  NLT_OK: there may be more;
     * NLT_EOF: that was all.  Sets a->flow.unfinished when it stopped inside
     * of the series that the walk gave out last, which it gets again if the
     * view changes.
     */
    nlt_rc_t (*make)(nlt_api_t *a, nlt_err_t *err);
    /* Gives back what ctx holds outside of the pool; once. */
    void (*end)(nlt_api_t *a);
    /*
     * The answer itself tells what it misses, when a damaged block is left
     * out.  Otherwise it is refused.
     */
    bool missing_is_told;
} nlt_api_flow_ops_t;

typedef struct {
    const nlt_api_flow_ops_t *ops; /* NULL: this answer is none */
    void *ctx;                     /* in the job's pool */
    nlt_walk_t walk;
    bool unfinished;
    nlt_buf_t buf; /* the part that is being sent */
    size_t taken;  /* of it */
    bool done;     /* it is the last one */
    nlt_rc_t rc;   /* not NLT_OK: it cannot go on */
    int64_t view_ns;
} nlt_api_flow_t;

/*
 * Answers with a flow: makes the first part.  status and content type of
 * a->answer are set before, for success.  An error becomes the answer.
 */
void nlt_api_flow_run(nlt_api_t *a, const nlt_api_flow_ops_t *ops, void *ctx);

/* The work of nlt_api_more(): the next part. */
void nlt_api_flow_more(nlt_api_t *a);

/* nlt_api_render() of a flow. */
nlt_rc_t nlt_api_flow_take(nlt_api_t *a, char *out, size_t cap, size_t *len);

/* Gives back what the flow holds, the view too.  No flow: nothing. */
void nlt_api_flow_end(nlt_api_t *a);

/*
 * Adds those texts to a list of a->annots that are not in it yet; copies them
 * into the job's pool.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_api_flow_note(nlt_api_t *a, nlt_annot_t **list,
                                       const nlt_annot_t *more);

/*
 * For the end of an answer that tells itself what it misses: adds that to the
 * warnings of a->annots.  NLT_ENOMEM.
 */
NLT_CHECKED nlt_rc_t nlt_api_flow_missing(nlt_api_t *a, nlt_err_t *err);

#endif
