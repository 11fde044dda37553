/*
 * nlt_rc.h - result codes, and errors that a person reads.
 *
 * Floor 0 (base); uses nlt_types.
 *
 * One list gives the enum, the text and the remedy of each cause, so they
 * cannot drift apart.  No errno crosses a floor: the place
 * that saw it writes it into the text of an nlt_err_t.
 */
#ifndef NLT_BASE_RC_H
#define NLT_BASE_RC_H

#include "nlt_types.h"

/*  name, value, meaning, and what an operator does about it in a log */
#define NLT_RC_LIST(X)                                                        \
    X(OK, 0, "ok", "nothing")                                                 \
    X(AGAIN, -1, "not finished, call again", "nothing: it is tried again")    \
    X(EOF, -2, "end of input", "look at what was cut short")                  \
    X(ENOMEM, -3, "out of memory",                                            \
      "give the machine or its container more memory")                        \
    X(EFULL, -4, "no room left",                                              \
      "make room on the file system, or raise memory=")                       \
    X(EINVAL, -5, "invalid input", "look at the input that it names")         \
    X(EDATA, -6, "corrupt data",                                              \
      "put back a good copy, or see OPERATIONS.md, \"What each failure "      \
      "looks like\"")                                                         \
    X(EORDER, -7, "out of order", "look at the input that it names")          \
    X(EDUP, -8, "duplicate", "look at the input that it names")               \
    X(ELIMIT, -9, "limit exceeded",                                           \
      "raise the limit that it names, or ask for less")                       \
    X(ETOOBIG, -10, "too large",                                              \
      "send less at once, or raise the limit that it names")                  \
    X(ETYPE, -11, "unsupported type", "look at the input that it names")      \
    X(EIO, -12, "input/output error",                                         \
      "look at the kernel's log, at the rights and at the room on the disk")  \
    X(ENOENT, -13, "not found", "bring back what it names")                   \
    X(EEXIST, -14, "exists already", "move away what it names")               \
    X(ENOTREADY, -15, "not ready", "wait, or see what /-/ready says")         \
    X(ECANCELED, -16, "canceled", "nothing")                                  \
    X(ETIMEOUT, -17, "timed out", "ask for less, or raise the timeout")       \
    X(EEXEC, -18, "execution failed", "look at the query")                    \
    X(EVERSION, -19, "format of another version",                             \
      "install the version that wrote it")                                    \
    X(EBUG, -20, "internal error", "report it with the lines before it")

typedef enum {
#define NLT_RC_ENUM(name, value, text, todo) NLT_##name = (value),
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

/* No error and no text. */
static inline void
nlt_err_clear(nlt_err_t *err)
{
    err->rc = NLT_OK;
    err->pos = -1;
    err->len = 0;
    err->text[0] = '\0';
}

/* Short English text of a code ("corrupt data"); a literal, never NULL. */
const char *nlt_rc_text(nlt_rc_t rc);

/*
 * What to do when a log line says that something failed with this code; a
 * literal, never NULL.  Where the place knows better, it says so itself.
 */
const char *nlt_rc_todo(nlt_rc_t rc);

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
