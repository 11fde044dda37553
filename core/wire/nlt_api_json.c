/*
 * nlt_api_json.c - see the header.
 */
#include "nlt_api_json.h"

#include "nlt_num.h"

/* Bytes rendered ahead at most before the caller gets them. */
#define AHEAD 16384

static void
escape_ascii(nlt_buf_t *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char u[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

    switch (c) {
    case '"':
        nlt_buf_add(b, "\\\"", 2);
        break;
    case '\\':
        nlt_buf_add(b, "\\\\", 2);
        break;
    case '\n':
        nlt_buf_add(b, "\\n", 2);
        break;
    case '\r':
        nlt_buf_add(b, "\\r", 2);
        break;
    case '\t':
        nlt_buf_add(b, "\\t", 2);
        break;
    default:
        nlt_buf_add(b, u, sizeof(u));
    }
}

/* Escapes one multi-byte rune of HTML-safe strings; its length. */
static size_t
html_rune(nlt_buf_t *b, nlt_str_t rest)
{
    uint32_t rune;
    size_t n = nlt_utf8_decode(rest, &rune);

    if (rune == 0xfffd && n == 1) {
        nlt_buf_add(b, "\\ufffd", 6);
    } else if (rune == 0x2028 || rune == 0x2029) {
        nlt_buf_addf(b, "\\u%04x", (unsigned) rune);
    } else {
        nlt_buf_add(b, rest.data, n);
    }
    return n;
}

/* A bit in each byte of x that is 0 (the lowest such byte is right). */
static inline uint64_t
zero_bytes(uint64_t x)
{
    return (x - UINT64_C(0x0101010101010101)) & ~x
           & UINT64_C(0x8080808080808080);
}

#define EACH_BYTE(c) (UINT64_C(0x0101010101010101) * (c))

/* Not 0 if one of eight bytes may need an escape: < 0x20, >= 0x80, or one of
 * five characters. */
static inline uint64_t
odd_bytes(uint64_t w)
{
    return (((w - EACH_BYTE(0x20)) | w) & EACH_BYTE(0x80))
           | zero_bytes(w ^ EACH_BYTE('"')) | zero_bytes(w ^ EACH_BYTE('\\'))
           | zero_bytes(w ^ EACH_BYTE('<')) | zero_bytes(w ^ EACH_BYTE('>'))
           | zero_bytes(w ^ EACH_BYTE('&'));
}

/* Bytes at the beginning, in steps of 8 or all, that nobody escapes. */
static size_t
plain_bytes(nlt_str_t s)
{
    uint64_t w = EACH_BYTE('a');
    size_t i = 0;

    for (; i + 8 <= s.len; i += 8) {
        memcpy(&w, s.data + i, 8);
        if (odd_bytes(w)) {
            return i;
        }
    }
    if (s.len >= 8) {
        /* The last ones once more, with some before. */
        memcpy(&w, s.data + s.len - 8, 8);
    } else if (s.len >= 4) {
        uint32_t first, last;

        memcpy(&first, s.data, 4);
        memcpy(&last, s.data + s.len - 4, 4);
        w = first | (uint64_t) last << 32;
    } else {
        for (size_t k = 0; k < s.len; k++) {
            w = w << 8 | (unsigned char) s.data[k];
        }
    }
    return odd_bytes(w) ? i : s.len;
}

/* Sixteen bytes, which compilers compare at once. */
typedef int8_t v16_t __attribute__((vector_size(16)));

/* May one of them need an escape?  Signed: those from 0x80 on are below 0. */
static inline v16_t
odd_of(v16_t v, bool html)
{
    v16_t odd = (v < 0x20) | (v == '"') | (v == '\\');

    return html ? odd | (v == '<') | (v == '>') | (v == '&') : odd;
}

static inline bool
any_of(v16_t odd)
{
    uint64_t half[2];

    memcpy(half, &odd, 16);
    return (half[0] | half[1]) != 0;
}

/* Long ones: the last sixteen bytes are taken once more with some before. */
static bool
put_long(char *to, nlt_str_t s, bool html)
{
    v16_t v, odd = {0};

    for (size_t i = 0; i + 16 < s.len; i += 16) {
        memcpy(&v, s.data + i, 16);
        memcpy(to + i, &v, 16);
        odd |= odd_of(v, html);
    }
    memcpy(&v, s.data + s.len - 16, 16);
    memcpy(to + s.len - 16, &v, 16);
    return !any_of(odd | odd_of(v, html));
}

/*
 * Copies s to where there is room for it; may it stand as it is?  What is
 * looked at was loaded from where it came: loads of bytes that were stored in
 * other pieces a moment ago would have to wait for them.
 */
static inline bool
put(char *to, nlt_str_t s, bool html)
{
    uint64_t ends[2] = {EACH_BYTE('a'), EACH_BYTE('a')};
    v16_t v;

    if (s.len > 16) {
        return put_long(to, s, html);
    }
    if (s.len >= 8) {
        memcpy(&ends[0], s.data, 8);
        memcpy(&ends[1], s.data + s.len - 8, 8);
        memcpy(to, &ends[0], 8);
        memcpy(to + s.len - 8, &ends[1], 8);
    } else if (s.len >= 4) {
        uint32_t first, last;

        memcpy(&first, s.data, 4);
        memcpy(&last, s.data + s.len - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + s.len - 4, &last, 4);
        ends[0] = first | (uint64_t) last << 32;
    } else {
        for (size_t i = 0; i < s.len; i++) {
            to[i] = s.data[i];
            ends[0] = ends[0] << 8 | (uint8_t) s.data[i];
        }
    }
    memcpy(&v, ends, 16);
    return !any_of(odd_of(v, html));
}

/* Is there room without asking for more? */
static inline bool
has_room(const nlt_buf_t *b, size_t n)
{
    return b->rc == NLT_OK && b->data != NULL && b->cap - b->len >= n;
}

/* Strings that put() does not take. */
static void
add_chars(nlt_buf_t *b, nlt_str_t s, bool html)
{
    size_t run = 0; /* start of bytes that need no escape */
    size_t i = 0;

    if (s.len == 0) {
        return;
    }
    i = plain_bytes(s);
    if (i == s.len) {
        nlt_buf_add(b, s.data, s.len);
        return;
    }
    while (i < s.len) {
        unsigned char c = (unsigned char) s.data[i];
        bool plain = c >= 0x20 && c != '"' && c != '\\';

        if (html) {
            plain = plain && c < 0x80 && c != '<' && c != '>' && c != '&';
        }
        if (plain) {
            i++;
            continue;
        }
        nlt_buf_add(b, s.data + run, i - run);
        if (c >= 0x80) {
            i += html_rune(b, (nlt_str_t){s.len - i, s.data + i});
        } else {
            escape_ascii(b, c);
            i++;
        }
        run = i;
    }
    nlt_buf_add(b, s.data + run, i - run);
}

void
nlt_json_chars(nlt_buf_t *b, nlt_str_t s, bool html)
{
    if (has_room(b, s.len) && put(b->data + b->len, s, html)) {
        b->len += s.len;
    } else {
        add_chars(b, s, html);
    }
}

void
nlt_json_string(nlt_buf_t *b, nlt_str_t s, bool html)
{
    nlt_buf_add_byte(b, '"');
    nlt_json_chars(b, s, html);
    nlt_buf_add_byte(b, '"');
}

/* "name":"value" in one go; false: nothing was added. */
static inline bool
add_pair(nlt_buf_t *b, nlt_label_t l)
{
    char *to = b->data + b->len;

    if (!has_room(b, l.name.len + l.value.len + 5)) {
        return false;
    }
    *to++ = '"';
    if (!put(to, l.name, false)) {
        return false;
    }
    to += l.name.len;
    memcpy(to, "\":\"", 3);
    to += 3;
    if (!put(to, l.value, false)) {
        return false;
    }
    to += l.value.len;
    *to++ = '"';
    b->len = (size_t) (to - b->data);
    return true;
}

void
nlt_json_labels(nlt_buf_t *b, nlt_labels_t labels)
{
    nlt_buf_add_byte(b, '{');
    for (size_t i = 0; i < labels.n; i++) {
        if (i > 0) {
            nlt_buf_add_byte(b, ',');
        }
        if (!add_pair(b, labels.v[i])) {
            nlt_json_string(b, labels.v[i].name, false);
            nlt_buf_add_byte(b, ':');
            nlt_json_string(b, labels.v[i].value, false);
        }
    }
    nlt_buf_add_byte(b, '}');
}

void
nlt_json_time(nlt_buf_t *b, int64_t t_ms)
{
    uint64_t abs = t_ms < 0 ? 0 - (uint64_t) t_ms : (uint64_t) t_ms;

    if (t_ms < 0) {
        nlt_buf_add_byte(b, '-');
    }
    nlt_buf_add_u64(b, abs / 1000);
    if (abs % 1000 != 0) {
        char frac[4] = {'.', (char) ('0' + abs % 1000 / 100),
                        (char) ('0' + abs / 10 % 10), (char) ('0' + abs % 10)};

        nlt_buf_add(b, frac, sizeof(frac));
    }
}

/* Times of scalars and strings are floats: trailing zeros are dropped. */
static void
scalar_time(nlt_buf_t *b, int64_t t_ms)
{
    nlt_json_time(b, t_ms);
    if (t_ms % 1000 != 0) {
        while (b->len > 0 && b->data[b->len - 1] == '0') {
            b->len--;
        }
    }
}

/* What follows the time of a point: ,"value"]; how much that is. */
static inline size_t
add_point_value(nlt_buf_t *b, double v)
{
    char *to = nlt_buf_reserve(b, 2 + NLT_NUM_TEXT_MAX);
    size_t n = 0;

    if (to != NULL) {
        memcpy(to, ",\"", 2);
        n = 2 + nlt_num_sample(to + 2, v);
        memcpy(to + n, "\"]", 2);
        n += 2;
        b->len += n;
    }
    return n;
}

void
nlt_json_point(nlt_buf_t *b, int64_t t_ms, double v)
{
    nlt_buf_add_byte(b, '[');
    nlt_json_time(b, t_ms);
    (void) add_point_value(b, v);
}

/* ---- times of a grid, which all its series have ---- */

/* "[" and the text of one, and at the end how long that is. */
#define TIME_ROOM 24

/*
 * As many as there are steps, if they are needed more than once: made for the
 * second series.  Without memory each is made anew.
 */
static void
make_times(nlt_json_stream_t *s)
{
    const nlt_value_t *v = s->value;
    nlt_buf_t b;

    nlt_buf_init(&b, s->buf.mem, 64);
    s->times = s->buf.mem->alloc(s->buf.mem->ctx, v->n_steps * TIME_ROOM);
    for (size_t i = 0; s->times != NULL && i < v->n_steps; i++) {
        char *to = s->times + i * TIME_ROOM;

        nlt_buf_reset(&b);
        nlt_buf_add_byte(&b, '[');
        nlt_json_time(&b, v->t_start_ms + (int64_t) i * v->step_ms);
        if (b.rc != NLT_OK || b.len >= TIME_ROOM) {
            nlt_mem_free(s->buf.mem, s->times, v->n_steps * TIME_ROOM);
            s->times = NULL;
            break;
        }
        memcpy(to, b.data, b.len);
        to[TIME_ROOM - 1] = (char) b.len;
    }
    s->n_times = s->times != NULL ? v->n_steps : 0;
    nlt_buf_deinit(&b);
}

static inline void
add_grid_time(nlt_json_stream_t *s, size_t i)
{
    const char *from = s->times + i * TIME_ROOM;
    char *to = nlt_buf_reserve(&s->buf, TIME_ROOM);

    if (to != NULL) {
        memcpy(to, from, TIME_ROOM);
        s->buf.len += (size_t) from[TIME_ROOM - 1];
    }
}

/* The value before, whose text ends where the buffer ended then. */
typedef struct {
    uint64_t bits;
    size_t end;
    size_t len; /* 0: there is none */
} before_t;

/* Many values are those of the step before: their text is there. */
static inline void
add_value_after(nlt_buf_t *b, double v, before_t *before)
{
    uint64_t bits = nlt_bits_of(v);
    char *to;

    if (before->len == 0 || bits != before->bits) {
        before->bits = bits;
        before->len = add_point_value(b, v);
    } else if ((to = nlt_buf_reserve(b, before->len)) != NULL) {
        memcpy(to, b->data + before->end - before->len, before->len);
        b->len += before->len;
    }
    before->end = b->len;
}

void
nlt_json_error(nlt_buf_t *b, const char *type, nlt_str_t text)
{
    nlt_buf_add_c(b, "{\"status\":\"error\",\"errorType\":\"");
    nlt_buf_add_c(b, type);
    nlt_buf_add_c(b, "\",\"error\":");
    nlt_json_string(b, text, true);
    nlt_buf_add_byte(b, '}');
}

void
nlt_json_stream_init(nlt_json_stream_t *s, const nlt_mem_t *mem)
{
    nlt_buf_init(&s->buf, mem, NLT_JSON_ELEMENT_MAX + AHEAD);
    s->taken = 0;
    s->phase = 0;
    s->idx = 0;
    s->point = 0;
    s->open = false;
    s->any = false;
    s->times = NULL;
    s->n_times = 0;
}

void
nlt_json_stream_deinit(nlt_json_stream_t *s)
{
    nlt_mem_free(s->buf.mem, s->times, s->n_times * TIME_ROOM);
    s->times = NULL;
    s->n_times = 0;
    nlt_buf_deinit(&s->buf);
}

static void
annotations(nlt_buf_t *b, const char *key, const nlt_annot_t *list)
{
    if (list == NULL) {
        return;
    }
    nlt_buf_addf(b, ",\"%s\":[", key);
    for (const nlt_annot_t *a = list; a != NULL; a = a->next) {
        if (a != list) {
            nlt_buf_add_byte(b, ',');
        }
        nlt_json_string(b, a->text, true);
    }
    nlt_buf_add_byte(b, ']');
}

void
nlt_json_annots(nlt_buf_t *b, const nlt_annots_t *annots)
{
    annotations(b, "warnings", annots->warnings);
    annotations(b, "infos", annots->infos);
}

static void
emit_begin(nlt_json_stream_t *s)
{
    static const char *const types[] = {
        [NLT_VALUE_SCALAR] = "scalar",
        [NLT_VALUE_VECTOR] = "vector",
        [NLT_VALUE_MATRIX] = "matrix",
        [NLT_VALUE_STRING] = "string",
    };
    nlt_buf_t *b = &s->buf;

    nlt_buf_add_c(b, "{\"status\":\"success\",\"data\":");
    if (s->kind == NLT_JSON_VALUE) {
        nlt_buf_addf(
            b, "{\"resultType\":\"%s\",\"result\":", types[s->value->type]);
    }
    nlt_buf_add_byte(b, '[');
}

static void
emit_end(nlt_json_stream_t *s)
{
    nlt_buf_t *b = &s->buf;

    nlt_buf_add_byte(b, ']');
    if (s->kind == NLT_JSON_VALUE) {
        nlt_buf_add_str(b, s->stats);
        nlt_buf_add_byte(b, '}');
    }
    if (s->annots != NULL) {
        nlt_json_annots(b, s->annots);
    }
    nlt_buf_add_byte(b, '}');
}

/* Scalars and strings: [t,"v"] without the brackets emit_begin() wrote. */
static void
emit_single(nlt_json_stream_t *s)
{
    const nlt_value_t *v = s->value;
    nlt_buf_t *b = &s->buf;

    scalar_time(b, v->t_start_ms);
    nlt_buf_add_byte(b, ',');
    if (v->type == NLT_VALUE_STRING) {
        nlt_json_string(b, v->string, true);
    } else {
        char text[NLT_NUM_PLAIN_MAX];
        size_t n = nlt_num_plain(text, v->series[0].v[0]);

        nlt_buf_add_byte(b, '"');
        nlt_buf_add(b, text, n);
        nlt_buf_add_byte(b, '"');
    }
}

static int64_t
point_time(const nlt_value_t *v, const nlt_value_series_t *series, size_t i)
{
    return series->t_ms != NULL ? series->t_ms[i]
                                : v->t_start_ms + (int64_t) i * v->step_ms;
}

/* Points of the open series until the buffer is full enough. */
static void
emit_points(nlt_json_stream_t *s, const nlt_value_series_t *series)
{
    nlt_buf_t *b = &s->buf;
    bool vector = s->value->type == NLT_VALUE_VECTOR;
    bool grid = series->t_ms == NULL && series->n == s->value->n_steps;

    if (grid && s->idx == 1 && s->point == 0 && series->n > 1
        && s->times == NULL) {
        make_times(s);
    }
    grid = grid && s->times != NULL;

    before_t before = {0, 0, 0};

    for (; s->point < series->n && b->len < AHEAD; s->point++) {
        if (!nlt_value_has(series, s->point)) {
            continue;
        }
        if (s->any) {
            nlt_buf_add_byte(b, ',');
        }
        s->any = true;
        if (grid) {
            add_grid_time(s, s->point);
        } else {
            nlt_buf_add_byte(b, '[');
            nlt_json_time(b, point_time(s->value, series, s->point));
        }
        add_value_after(b, series->v[s->point], &before);
    }
    if (s->point == series->n) {
        nlt_buf_add_c(b, vector ? "}" : "]}");
        s->open = false;
        s->idx++;
    }
}

static void
emit_value(nlt_json_stream_t *s)
{
    const nlt_value_t *v = s->value;
    nlt_buf_t *b = &s->buf;

    if (v->type == NLT_VALUE_SCALAR || v->type == NLT_VALUE_STRING) {
        emit_single(s);
        s->phase++;
        return;
    }
    if (s->idx == v->n_series) {
        s->phase++;
        return;
    }
    if (!s->open) {
        if (s->idx > 0) {
            nlt_buf_add_byte(b, ',');
        }
        nlt_buf_add_c(b, "{\"metric\":");
        nlt_json_labels(b, v->series[s->idx].labels);
        nlt_buf_add_c(b, v->type == NLT_VALUE_VECTOR ? ",\"value\":"
                                                     : ",\"values\":[");
        s->open = true;
        s->any = false;
        s->point = 0;
    }
    emit_points(s, &v->series[s->idx]);
}

static void
emit_item(nlt_json_stream_t *s)
{
    if (s->idx == s->n) {
        s->phase++;
        return;
    }
    if (s->idx > 0) {
        nlt_buf_add_byte(&s->buf, ',');
    }
    if (s->kind == NLT_JSON_LIST) {
        nlt_json_string(&s->buf, s->list[s->idx], true);
    } else {
        nlt_json_labels(&s->buf, s->sets[s->idx]);
    }
    s->idx++;
}

static void
emit(nlt_json_stream_t *s)
{
    switch (s->phase) {
    case 0:
        emit_begin(s);
        s->phase++;
        break;
    case 1:
        if (s->kind == NLT_JSON_VALUE) {
            emit_value(s);
        } else {
            emit_item(s);
        }
        break;
    default:
        emit_end(s);
        s->phase++;
    }
}

nlt_rc_t
nlt_json_stream_take(nlt_json_stream_t *s, char *out, size_t cap, size_t *len)
{
    nlt_str_t rest;

    *len = 0;
    if (s->kind == NLT_JSON_TEXT) {
        rest = (nlt_str_t){s->text.len - s->taken, s->text.data + s->taken};
        *len = rest.len < cap ? rest.len : cap;
        if (*len > 0) {
            memcpy(out, rest.data, *len);
        }
        s->taken += *len;
        return s->taken == s->text.len ? NLT_OK : NLT_AGAIN;
    }

    while (*len < cap) {
        size_t n;

        if (s->taken == s->buf.len) {
            nlt_buf_reset(&s->buf);
            s->taken = 0;
            while (s->phase < 3 && s->buf.len < AHEAD && s->buf.rc == NLT_OK) {
                emit(s);
            }
            if (s->buf.rc != NLT_OK) {
                return s->buf.rc;
            }
            if (s->buf.len == 0) {
                break;
            }
        }
        n = s->buf.len - s->taken;
        n = n < cap - *len ? n : cap - *len;
        memcpy(out + *len, s->buf.data + s->taken, n);
        s->taken += n;
        *len += n;
    }
    return s->phase == 3 && s->taken == s->buf.len ? NLT_OK : NLT_AGAIN;
}
