/*
 * nlt_dense_slow.h - a second reader of dense chunks, slow and obvious.
 *
 * Written from docs/formats/dense.md: bit by bit, a whole column at a time,
 * the directory only to step over.  It shares no code with nlt_dense*.c.  It
 * reads nothing outside of what it is given, but is no judge of damage: what
 * it makes of bytes that are no chunk is not defined.
 */
#ifndef NLT_DENSE_SLOW_H
#define NLT_DENSE_SLOW_H

#include <stdlib.h>
#include <string.h>

#include "nlt_types.h"

typedef struct {
  const uint8_t *p;
  size_t len;
  size_t at;  /* byte */
  size_t bit; /* of it */
  bool bad;   /* something was asked for behind the end */
} slow_t;

static inline unsigned slow_bit(slow_t *s) {
  unsigned b;

  if (s->at >= s->len) {
    s->bad = true;
    return 0;
  }
  b = (s->p[s->at] >> s->bit) & 1;
  s->bit++;
  s->at += s->bit / 8;
  s->bit %= 8;
  return b;
}

static inline uint64_t slow_bits(slow_t *s, unsigned n) {
  uint64_t v = 0;

  for (unsigned i = 0; i < n; i++) {
    v |= (uint64_t)slow_bit(s) << i;
  }
  return v;
}

/* A bit string ends at a byte. */
static inline void slow_align(slow_t *s) {
  if (s->bit > 0) {
    s->bit = 0;
    s->at++;
  }
}

static inline uint8_t slow_u8(slow_t *s) { return (uint8_t)slow_bits(s, 8); }

static inline uint64_t slow_uv(slow_t *s) {
  uint64_t v = 0;
  uint8_t b = 128;

  for (unsigned i = 0; (b & 128) && i < 10; i++) {
    b = slow_u8(s);
    v |= (uint64_t)(b & 127) << (7 * i);
  }
  return v;
}

static inline uint64_t slow_unzigzag(uint64_t u) {
  return u & 1 ? ~(u >> 1) : u >> 1;
}

static inline uint64_t slow_sv(slow_t *s) { return slow_unzigzag(slow_uv(s)); }

/* The next n bytes as something of their own. */
static inline slow_t slow_part(slow_t *s, uint64_t n) {
  slow_t part = {s->p + s->at, 0, 0, 0, false};

  if (n > s->len - s->at) {
    s->bad = true;
    return part;
  }
  part.len = n;
  s->at += n;
  return part;
}

static inline slow_t slow_rest(slow_t *s) {
  return slow_part(s, s->len - s->at);
}

static inline void slow_packed(slow_t *s, size_t n, uint64_t base,
                               uint8_t width, uint64_t *r) {
  uint64_t n_patches = width & 128 ? slow_uv(s) : 0, at = 0;
  slow_t patches = *s;

  width &= 127;
  for (uint64_t i = 0; i < n_patches && !s->bad; i++) {
    (void)slow_uv(s);
    (void)slow_uv(s);
  }
  for (size_t i = 0; i < n && width <= 64; i++) {
    r[i] = base + slow_bits(s, width);
  }
  slow_align(s);
  for (uint64_t i = 0; i < n_patches && !s->bad; i++) {
    at += slow_uv(&patches);
    if (at < n && width < 64) {
      r[at] += slow_uv(&patches) << width;
    }
    at++;
  }
}

/* Lengths of the codes of up to 1024 symbols. */
typedef struct {
  unsigned k;
  unsigned first;
  unsigned last;
  unsigned len[1024];
} slow_table_t;

static inline void slow_table(slow_t *s, slow_table_t *t) {
  uint64_t first = slow_uv(s), more = slow_uv(s);

  memset(t->len, 0, sizeof(t->len));
  t->first = (unsigned)first;
  t->last = (unsigned)(first + more);
  if (first > 1023 || more > 1023 - first) {
    s->bad = true;
    t->last = 0;
    return;
  }
  for (unsigned i = t->first; i <= t->last;) {
    unsigned nibble = (unsigned)slow_bits(s, 4);

    if (nibble < 12) {
      t->len[i++] = nibble;
    } else {
      i += 3u << (nibble - 12); /* absent */
    }
  }
  slow_align(s);
}

/* Reads bits until they are a code: canonical, from the high bit. */
static inline uint64_t slow_code(slow_t *s, const slow_table_t *t) {
  uint32_t code = 0, next = 0; /* next: the first code of this length */

  for (unsigned len = 1; len <= 9; len++) {
    code = code << 1 | slow_bit(s);
    next <<= 1;
    for (unsigned i = t->first; i <= t->last; i++) {
      unsigned raw = i < (2u << t->k) ? 0 : (i >> t->k) - 1;
      uint64_t high = i - ((uint64_t)raw << t->k);

      if (t->len[i] == len && next++ == code) {
        return (high << raw) + slow_bits(s, raw);
      }
    }
  }
  s->bad = true;
  return 0;
}

static inline void slow_codes(slow_t *s, const slow_table_t *t, size_t n,
                              uint64_t c, bool z, uint64_t *r) {
  size_t n_streams = n < 64 ? 1 : 4, q = (n + n_streams - 1) / n_streams;
  uint64_t bytes[3] = {0};

  for (size_t i = 0; i + 1 < n_streams; i++) {
    bytes[i] = slow_uv(s);
  }
  for (size_t i = 0; i < n_streams; i++) {
    slow_t part = i + 1 < n_streams ? slow_part(s, bytes[i]) : slow_rest(s);

    for (size_t j = i * q; j < n && j < (i + 1) * q; j++) {
      uint64_t u = slow_code(&part, t);

      r[j] = c + (z ? slow_unzigzag(u) : u);
    }
    s->bad |= part.bad;
  }
}

static inline void slow_column(slow_t *s, size_t n, uint64_t *x);

/* m residuals that are c but for the events. */
static inline void slow_sparse(slow_t *s, size_t m, uint64_t c, uint64_t *r) {
  uint64_t n = slow_uv(s), at = 0, gap[512], event[512];
  slow_t list;

  for (size_t i = 0; i < m; i++) {
    r[i] = c;
  }
  if (n == 0 || n > 512) {
    return;
  }
  list = slow_part(s, slow_uv(s));
  slow_column(&list, n, gap);
  s->bad |= list.bad;
  slow_column(s, n, event);
  for (size_t i = 0; i < n; i++) {
    at += gap[i];
    if (at < m) {
      r[at] += event[i];
    }
    at++;
  }
}

/* The rest of s as directory and segments. */
static inline void slow_segments(slow_t *s, unsigned mode, unsigned t, bool z,
                                 uint64_t c, uint8_t width,
                                 const slow_table_t *table, size_t m,
                                 uint64_t *r) {
  size_t n_segs = (m + 511) / 512;
  uint64_t bytes[16] = {0};

  for (size_t i = 0; i + 1 < n_segs && i < 16; i++) {
    bytes[i] = slow_uv(s);
    for (unsigned skip = 0; skip < (t == 1 ? 1 : t == 2 ? 2 : 0); skip++) {
      (void)slow_sv(s);
    }
  }
  for (size_t i = 0; i < n_segs && i < 16; i++) {
    size_t n = m - i * 512 < 512 ? m - i * 512 : 512;
    slow_t seg = i + 1 < n_segs ? slow_part(s, bytes[i]) : slow_rest(s);

    if (mode == 3) {
      slow_codes(&seg, table, n, c, z, r + i * 512);
    } else if (z) {
      slow_packed(&seg, n, c, width, r + i * 512);
    }
    for (size_t k = 0; mode == 2 && !z && k < n; k += 128) {
      uint64_t base = slow_sv(&seg);
      uint8_t w = slow_u8(&seg);

      slow_packed(&seg, n - k < 128 ? n - k : 128, base, w, r + i * 512 + k);
    }
    s->bad |= seg.bad;
  }
}

/* n <= 8192 numbers of a column that s is the whole of. */
static inline void slow_column(slow_t *s, size_t n, uint64_t *x) {
  uint8_t head = slow_u8(s), width = 0;
  unsigned mode = head & 3, t = (head >> 2) & 3;
  bool z = head & 16;
  uint64_t x0 = slow_sv(s), g = 0, d = 0, slope = 0, c = 0, xs = 0;
  uint64_t *r = calloc(n, sizeof(*r));
  slow_table_t table = {.k = 2 * (head >> 5)};

  if (r == NULL) {
    abort();
  }
  if (mode != 0) {
    g = slow_uv(s);
    d = t == 2 ? slow_sv(s) : 0;
    slope = t == 3 ? slow_sv(s) : 0;
    c = mode != 2 || z ? slow_sv(s) : 0;
    width = mode == 2 && z ? slow_u8(s) : 0;
  }
  if (mode == 1) {
    slow_sparse(s, n - 1, c, r);
  } else if (mode != 0) {
    if (mode == 3) {
      slow_table(s, &table);
    }
    slow_segments(s, mode, t, z, c, width, &table, n - 1, r);
  }
  x[0] = x0;
  for (size_t i = 1; i < n; i++) {
    d += r[i - 1];
    xs = t == 0   ? r[i - 1]
         : t == 1 ? xs + r[i - 1]
         : t == 2 ? xs + d
                  : r[i - 1] + i * slope;
    x[i] = x0 + g * xs;
  }
  free(r);
}

static inline double slow_double(uint64_t bits) {
  double v;

  memcpy(&v, &bits, sizeof(v));
  return v;
}

static inline uint64_t slow_bits_of(double v) {
  uint64_t bits;

  memcpy(&bits, &v, sizeof(bits));
  return bits;
}

/* Runs of exceptions over what the columns gave. */
static inline void slow_runs(slow_t *s, uint64_t n_runs, size_t n, double *v) {
  static const uint64_t known[5] = {
      UINT64_C(0x7ff0000000000002), UINT64_C(0x7ff8000000000001),
      UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000),
      UINT64_C(0x8000000000000000)};
  uint64_t at = 0;

  for (uint64_t i = 0; i < n_runs && !s->bad; i++) {
    uint64_t len = 1, bits;
    uint8_t class;

    at += slow_uv(s);
    class = slow_u8(s);
    len = class & 8 ? slow_uv(s) : 1;
    bits = (class & 7) < 5 ? known[class & 7] : slow_bits(s, 64);
    for (; len > 0 && at < n; len--, at++) {
      v[at] = slow_double(bits);
    }
  }
}

/* n values of a chunk; false: it has not enough bytes. */
static inline bool slow_values(const uint8_t *p, size_t len, size_t n,
                               double *v) {
  slow_t s = {p, len, 0, 0, false}, runs, column;
  uint8_t head = slow_u8(&s);
  unsigned domain = head & 3;
  uint64_t n_runs = head & 8 ? slow_uv(&s) : 0;
  uint64_t *x = calloc(n, sizeof(*x)), *y = calloc(n, sizeof(*y));
  double *skip = calloc(n, sizeof(*skip)), by = 1;

  if (x == NULL || y == NULL || skip == NULL) {
    abort();
  }
  runs = s;
  slow_runs(&s, n_runs, n, skip);
  column = domain == 2 ? slow_part(&s, slow_uv(&s)) : slow_rest(&s);
  slow_column(&column, n, x);
  s.bad |= column.bad;
  if (domain == 2) {
    column = slow_rest(&s);
    slow_column(&column, n, y);
    s.bad |= column.bad;
  }
  for (int e = head >> 4; e > 0; e--) {
    by *= 10;
  }
  for (size_t i = 0; i < n; i++) {
    double q = (double)(int64_t)x[i] / by;

    v[i] =
        domain == 1 ? slow_double(x[i]) : slow_double(slow_bits_of(q) + y[i]);
  }
  slow_runs(&runs, n_runs, n, v);
  free(x);
  free(y);
  free(skip);
  return !s.bad;
}

static inline bool slow_times(const uint8_t *p, size_t len, size_t n,
                              int64_t *t_ms) {
  slow_t s = {p, len, 0, 0, false};
  uint64_t *x = calloc(n, sizeof(*x));

  if (x == NULL) {
    abort();
  }
  slow_column(&s, n, x);
  memcpy(t_ms, x, n * sizeof(*x));
  free(x);
  return !s.bad;
}

#endif
