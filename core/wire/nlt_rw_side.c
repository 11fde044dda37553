/*
 * nlt_rw_side.c - exemplars and metadata, one after another.
 */
#include "nlt_rw_priv.h"

#define F_TS_EXEMPLARS  3
#define F_TS2_EXEMPLARS 4
#define F_WR_METADATA   3

#define F_EX_LABELS 1
#define F_EX_VALUE  2
#define F_EX_TIME   3

#define F_MD_TYPE   1
#define F_MD_FAMILY 2
#define F_MD_HELP   4
#define F_MD_UNIT   5

/* ---- exemplars ---- */

void
nlt_rw_exemplars_init(nlt_rw_exemplars_t *it, nlt_str_t body,
                      const nlt_rw2_symbols_t *symbols)
{
    static const uint8_t nothing[1];

    it->p = body.len ? (const uint8_t *) body.data : nothing;
    it->end = it->p + body.len;
    it->symbols = symbols;
}

/* Value and time of an exemplar; in 1.0 also its labels. */
static void
read_fields(const nlt_pb_field_t *msg, bool labelled, nlt_rw_exemplar_t *out,
            nlt_label_t *labels, size_t max)
{
    const uint8_t *p = msg->p;
    nlt_pb_field_t f;

    while (nlt_pb_next(&p, msg->p + msg->n, &f) == NLT_PB_FIELD) {
        switch (f.no) {
        case F_EX_LABELS:
            if (labelled) {
                if (out->n_labels < max) {
                    nlt_rw_label_of(&f, &labels[out->n_labels]);
                }
                out->n_labels++;
            }
            break;
        case F_EX_VALUE:
            out->v_bits = nlt_le64(f.p);
            break;
        case F_EX_TIME:
            out->t_ms = (int64_t) nlt_pb_varint(f.p, f.n);
            break;
        default:
            break;
        }
    }
}

/* Labels of a 2.0 exemplar. */
static nlt_rc_t
read_refs(const nlt_pb_field_t *msg, const nlt_rw2_symbols_t *symbols,
          nlt_rw_exemplar_t *out, nlt_label_t *labels, size_t max,
          nlt_err_t *err)
{
    nlt_str_t body = {msg->n, (const char *) msg->p};
    nlt_rw_numbers_t it;
    uint64_t number;
    size_t n = 0;

    nlt_rw_numbers_init(&it, body, F_EX_LABELS, NLT_PB_VARINT);
    while (nlt_rw_numbers_next(&it, &number)) {
        n++;
    }
    if (n % 2 != 0) {
        return nlt_err_set(err, NLT_EINVAL, "invalid labelRefs length %zu", n);
    }
    nlt_rw_numbers_init(&it, body, F_EX_LABELS, NLT_PB_VARINT);
    for (size_t i = 0; i < n; i += 2) {
        uint32_t refs[2];
        nlt_label_t label;
        size_t k;
        nlt_rc_t rc;

        (void) nlt_rw_numbers_next(&it, &number);
        refs[0] = (uint32_t) number;
        (void) nlt_rw_numbers_next(&it, &number);
        refs[1] = (uint32_t) number;
        rc = nlt_rw2_labels(symbols, refs, 2, &label, &k, err);
        if (rc != NLT_OK) {
            return rc;
        }
        if (out->n_labels < max) {
            labels[out->n_labels] = label;
        }
        out->n_labels++;
    }
    return NLT_OK;
}

nlt_rc_t
nlt_rw_exemplars_next(nlt_rw_exemplars_t *it, nlt_rw_exemplar_t *out,
                      nlt_label_t *labels, size_t max, nlt_err_t *err)
{
    uint32_t no = it->symbols ? F_TS2_EXEMPLARS : F_TS_EXEMPLARS;
    nlt_pb_field_t f;

    *out = (nlt_rw_exemplar_t){0};
    do {
        if (nlt_pb_next(&it->p, it->end, &f) != NLT_PB_FIELD) {
            it->p = it->end;
            return NLT_EOF;
        }
    } while (f.no != no);
    read_fields(&f, it->symbols == NULL, out, labels, max);
    return it->symbols ? read_refs(&f, it->symbols, out, labels, max, err)
                       : NLT_OK;
}

/* ---- metadata ---- */

void
nlt_rw_metadata_init(nlt_rw_metadata_iter_t *it, nlt_str_t request)
{
    static const uint8_t nothing[1];

    it->p = request.len ? (const uint8_t *) request.data : nothing;
    it->end = it->p + request.len;
}

bool
nlt_rw_metadata_next(nlt_rw_metadata_iter_t *it, nlt_rw_metadata_t *out)
{
    nlt_pb_field_t f, g;
    const uint8_t *p;

    do {
        if (nlt_pb_next(&it->p, it->end, &f) != NLT_PB_FIELD) {
            it->p = it->end;
            return false;
        }
    } while (f.no != F_WR_METADATA);

    *out = (nlt_rw_metadata_t){0, {0, ""}, {0, ""}, {0, ""}};
    for (p = f.p; nlt_pb_next(&p, f.p + f.n, &g) == NLT_PB_FIELD;) {
        nlt_str_t s = {g.n, (const char *) g.p};

        switch (g.no) {
        case F_MD_TYPE:
            out->type = (uint32_t) nlt_pb_varint(g.p, g.n);
            break;
        case F_MD_FAMILY:
            out->family = s;
            break;
        case F_MD_HELP:
            out->help = s;
            break;
        case F_MD_UNIT:
            out->unit = s;
            break;
        default:
            break;
        }
    }
    return true;
}

nlt_rc_t
nlt_rw2_metadata(const nlt_rw2_symbols_t *symbols,
                 const nlt_rw2_series_t *series, nlt_rw_metadata_t *out,
                 nlt_err_t *err)
{
    *out = (nlt_rw_metadata_t){series->meta_type, {0, ""}, {0, ""}, {0, ""}};
    if (series->unit_ref >= symbols->n || series->help_ref >= symbols->n) {
        bool unit = series->unit_ref >= symbols->n;

        return nlt_err_set(err, NLT_EINVAL,
                           "metadata %s %u outside of symbols table (size %u)",
                           unit ? "unit_ref" : "help_ref",
                           unit ? series->unit_ref : series->help_ref,
                           symbols->n);
    }
    out->help = nlt_rw2_symbol(symbols, series->help_ref);
    out->unit = nlt_rw2_symbol(symbols, series->unit_ref);
    return NLT_OK;
}
