/*
 * nlt_lines.c - lines with a running checksum, written and read.
 */
#include "nlt_lines.h"

#include "nlt_bytes.h"
#include "nlt_hash.h"
#include "nlt_head_layout.h"
#include "nlt_num.h"

/* " " and eight digits. */
#define CRC_LEN 9

static const char digits[] = "0123456789abcdef";

/* ---- writing ---- */

void
nlt_lines_begin(nlt_lines_out_t *l, nlt_buf_t *out)
{
    *l = (nlt_lines_out_t){.out = out, .start = out->len};
}

void
nlt_lines_add_hex(nlt_buf_t *out, const void *p, size_t n)
{
    const uint8_t *bytes = p;

    if (n == 0) {
        nlt_buf_add_byte(out, '-');
    }
    for (size_t i = 0; i < n; i++) {
        nlt_buf_add_byte(out, (uint8_t) digits[bytes[i] >> 4]);
        nlt_buf_add_byte(out, (uint8_t) digits[bytes[i] & 15]);
    }
}

void
nlt_lines_end_line(nlt_lines_out_t *l)
{
    nlt_buf_t *out = l->out;
    uint8_t be[4];

    if (out->rc != NLT_OK) {
        return;
    }
    if (out->len > l->start) {
        l->crc = nlt_crc32c(l->crc, out->data + l->start, out->len - l->start);
    }
    nlt_buf_add_byte(out, ' ');
    nlt_put_be32(be, l->crc);
    nlt_lines_add_hex(out, be, sizeof(be));
    nlt_buf_add_byte(out, '\n');
    l->start = out->len;
    l->n++;
}

void
nlt_lines_finish(nlt_lines_out_t *l)
{
    nlt_buf_addf(l->out, "end %zu", l->n);
    nlt_lines_end_line(l);
}

void
nlt_lines_begin_file(nlt_lines_out_t *l, nlt_buf_t *out, const char *kind,
                     unsigned format, const uint8_t *store_id)
{
    nlt_lines_begin(l, out);
    nlt_buf_addf(out, "nightlight-%s %u", kind, format);
    nlt_lines_end_line(l);
    nlt_buf_add_c(out, "store ");
    nlt_lines_add_hex(out, store_id, NLT_STORE_ID_BYTES);
    nlt_lines_end_line(l);
}

/* ---- reading ---- */

nlt_rc_t
nlt_lines_bad(nlt_lines_in_t *l, const char *what)
{
    return nlt_err_set(l->err, NLT_EDATA, "%s line %zu: %s", l->name, l->n,
                       what);
}

static int
digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

size_t
nlt_lines_hex_len(nlt_str_t word)
{
    if (nlt_str_eq(word, NLT_STR("-"))) {
        return 0;
    }
    for (size_t i = 0; i < word.len; i++) {
        if (digit(word.data[i]) < 0) {
            return SIZE_MAX;
        }
    }
    return word.len > 0 && word.len % 2 == 0 ? word.len / 2 : SIZE_MAX;
}

void
nlt_lines_hex(nlt_str_t word, void *out)
{
    uint8_t *p = out;

    for (size_t i = 0; i + 1 < word.len; i += 2) {
        *p++ = (uint8_t) (digit(word.data[i]) << 4 | digit(word.data[i + 1]));
    }
}

bool
nlt_lines_count(nlt_str_t word, uint64_t *out)
{
    int64_t v;

    if (word.len == 0 || word.data[0] < '0' || word.data[0] > '9'
        || !nlt_num_parse_i64(word, &v) || v < 0) {
        return false;
    }
    *out = (uint64_t) v;
    return true;
}

bool
nlt_lines_is(const nlt_lines_in_t *l, const char *key, size_t n)
{
    return l->n_words == n
           && nlt_str_eq(l->word[0], (nlt_str_t){strlen(key), key});
}

static bool
split(nlt_lines_in_t *l, nlt_str_t line)
{
    size_t from = 0;

    l->n_words = 0;
    for (size_t i = 0; i <= line.len; i++) {
        if (i < line.len && line.data[i] != ' ') {
            continue;
        }
        if (i == from || l->n_words == NLT_LINES_WORDS_MAX) {
            return false;
        }
        l->word[l->n_words++] = (nlt_str_t){i - from, line.data + from};
        from = i + 1;
    }
    return true;
}

/* The words of a line without its end. */
static nlt_rc_t
take_line(nlt_lines_in_t *l, nlt_str_t line)
{
    nlt_str_t sum;
    uint8_t be[4];

    if (line.len <= CRC_LEN || (l->line_max > 0 && line.len > l->line_max)
        || line.data[line.len - CRC_LEN] != ' ') {
        return nlt_lines_bad(l, "no checksum");
    }
    sum = (nlt_str_t){CRC_LEN - 1, line.data + line.len - CRC_LEN + 1};
    line.len -= CRC_LEN;
    if (nlt_lines_hex_len(sum) != sizeof(be)) {
        return nlt_lines_bad(l, "no checksum");
    }
    nlt_lines_hex(sum, be);
    l->crc = nlt_crc32c(l->crc, line.data, line.len);
    if (nlt_be32(be) != l->crc) {
        return nlt_lines_bad(l, "wrong checksum");
    }
    return split(l, line) ? NLT_OK
                          : nlt_lines_bad(l, "empty or too many words");
}

nlt_rc_t
nlt_lines_next(nlt_lines_in_t *l)
{
    nlt_str_t rest = {0, NULL};
    const char *nl = NULL;
    uint64_t n;
    nlt_rc_t rc;

    l->n++;
    if (l->at < l->text.len) {
        rest = (nlt_str_t){l->text.len - l->at, l->text.data + l->at};
        nl = memchr(rest.data, '\n', rest.len);
    }
    if (nl == NULL) {
        return nlt_lines_bad(l, "cut off");
    }
    l->at += (size_t) (nl - rest.data) + 1;
    rc = take_line(l, (nlt_str_t){(size_t) (nl - rest.data), rest.data});
    if (rc != NLT_OK || !nlt_str_eq(l->word[0], NLT_STR("end"))) {
        return rc;
    }
    if (l->n_words != 2 || !nlt_lines_count(l->word[1], &n) || n != l->n - 1) {
        return nlt_lines_bad(l, "the number of lines is wrong");
    }
    return l->at == l->text.len
               ? NLT_EOF
               : nlt_lines_bad(l, "something follows the end");
}

static nlt_rc_t
head_format(nlt_lines_in_t *l, const char *kind, unsigned format)
{
    static const nlt_str_t begin = {sizeof("nightlight-") - 1, "nightlight-"};
    nlt_str_t key = l->word[0];
    uint64_t v;

    if (l->n_words != 2 || key.len != begin.len + strlen(kind)
        || memcmp(key.data, begin.data, begin.len) != 0
        || memcmp(key.data + begin.len, kind, strlen(kind)) != 0
        || !nlt_lines_count(l->word[1], &v)) {
        return nlt_err_set(l->err, NLT_EDATA, "%s line %zu: not a file of %s",
                           l->name, l->n, kind);
    }
    l->format = (unsigned) v;
    return v >= 1 && v <= format
               ? NLT_OK
               : nlt_err_set(l->err, NLT_EVERSION,
                             "%s has format %llu, this program knows format%s "
                             "%u",
                             l->name, (unsigned long long) v,
                             format > 1 ? "s up to" : "", format);
}

nlt_rc_t
nlt_lines_head(nlt_lines_in_t *l, const char *kind, unsigned format,
               const uint8_t *store_id)
{
    uint8_t id[NLT_STORE_ID_BYTES];

    if (l->n == 1) {
        return head_format(l, kind, format);
    }
    if (!nlt_lines_is(l, "store", 2)
        || nlt_lines_hex_len(l->word[1]) != sizeof(id)) {
        return nlt_lines_bad(l, "not a store id");
    }
    nlt_lines_hex(l->word[1], id);
    return store_id == NULL || memcmp(id, store_id, sizeof(id)) == 0
               ? NLT_OK
               : nlt_err_set(l->err, NLT_EDATA,
                             "%s belongs to another store than store.id",
                             l->name);
}
