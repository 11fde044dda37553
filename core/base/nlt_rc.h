/*
 * nlt_rc.h - result codes, and errors that a person reads.
 *
 * Floor 0 (base); uses nlt_types.
 *
 * One list gives the enum, the text and the HTTP status class of each cause,
 * so they cannot drift apart.  No errno crosses a floor: the place that saw
 * it writes it into the text of an nlt_err_t.
 */
#ifndef NLT_BASE_RC_H
#define NLT_BASE_RC_H

#include "nlt_types.h"

/*          name         value  HTTP  meaning */
#define NLT_RC_LIST(X)                                                        \
    X(OK, 0, 200, "ok")                                                       \
    X(AGAIN, -1, 503, "not finished, call again")                             \
    X(EOF, -2, 400, "end of input")                                           \
    X(ENOMEM, -3, 503, "out of memory")                                       \
    X(EFULL, -4, 503, "no room left")                                         \
    X(EINVAL, -5, 400, "invalid input")                                       \
    X(EDATA, -6, 500, "corrupt data")                                         \
    X(EORDER, -7, 400, "out of order")                                        \
    X(EDUP, -8, 400, "duplicate")                                             \
    X(ELIMIT, -9, 422, "limit exceeded")                                      \
    X(ETOOBIG, -10, 413, "too large")                                         \
    X(ETYPE, -11, 415, "unsupported type")                                    \
    X(EIO, -12, 500, "input/output error")                                    \
    X(ENOENT, -13, 404, "not found")                                          \
    X(EEXIST, -14, 400, "exists already")                                     \
    X(ENOTREADY, -15, 503, "not ready")                                       \
    X(ECANCELED, -16, 499, "canceled")                                        \
    X(ETIMEOUT, -17, 503, "timed out")                                        \
    X(EEXEC, -18, 422, "execution failed")                                    \
    X(EVERSION, -19, 500, "format of another version")                        \
    X(EBUG, -20, 500, "internal error")

typedef enum {
#define NLT_RC_ENUM(name, value, http, text) NLT_##name = (value),
    NLT_RC_LIST(NLT_RC_ENUM)
#undef NLT_RC_ENUM
} nlt_rc_t;

/* Room for an error text; longer ones end in "...". */
#define NLT_ERR_TEXT_MAX 1024

/*
 * An error for people: owned by the caller, filled by the callee, the last
 * parameter of functions that have one.  A callee given NULL stays silent.
 */
typedef struct {
    nlt_rc_t rc;
    int64_t pos; /* byte position in the input it is about, or -1 */
    size_t len;  /* of text, without the NUL that follows it */
    char text[NLT_ERR_TEXT_MAX];
} nlt_err_t;

/* Short English text of a code ("corrupt data"); a literal, never NULL. */
const char *nlt_rc_text(nlt_rc_t rc);

/* HTTP status that fits a code when nothing more specific applies. */
int nlt_rc_http(nlt_rc_t rc);

/*
 * Fills err (which may be NULL) with rc, pos -1 and the formatted text, and
 * returns rc, so that a function can `return nlt_err_set(err, NLT_EINVAL,
 * "...")`.  A counted string is formatted with "%.*s", NLT_FMT(str).
 */
nlt_rc_t nlt_err_set(nlt_err_t *err, nlt_rc_t rc, const char *fmt, ...)
    NLT_PRINTF(3, 4);

/* The same with a byte position in the input. */
nlt_rc_t nlt_err_set_at(nlt_err_t *err, nlt_rc_t rc, int64_t pos,
                        const char *fmt, ...) NLT_PRINTF(4, 5);

/* The same with the text of an errno value appended: ": No space left". */
nlt_rc_t nlt_err_set_errno(nlt_err_t *err, nlt_rc_t rc, int errnum,
                           const char *fmt, ...) NLT_PRINTF(4, 5);

/* Arguments of "%.*s" for an nlt_str_t, cut at 2^31 - 1 bytes. */
#define NLT_FMT(str)                                                          \
    (int) ((str).len > INT32_MAX ? INT32_MAX : (str).len),                    \
        ((str).len ? (str).data : "")

#endif
