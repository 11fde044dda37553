/*
 * nlt_api_rules.c - what a store that neither scrapes nor evaluates rules has
 * to say about targets, rules and alerts: lists that are empty, after the
 * parameters were looked at as Prometheus looks at them.
 */
#include <ctype.h>

#include "nlt_api.h"
#include "nlt_num.h"

/* ---- targets ---- */

/* Does the parameter, in whatever case, say this word? */
static bool
says(nlt_str_t s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.data, word, s.len) == 0;
}

/* Without dropped targets in the answer their counts are null. */
void
nlt_api_run_targets(nlt_api_t *a)
{
    nlt_str_t state = nlt_api_param(a, "state");
    bool dropped =
        state.len == 0 || says(state, "any") || says(state, "dropped");

    nlt_api_data(a, dropped ? "{\"activeTargets\":[],\"droppedTargets\":[],"
                              "\"droppedTargetCounts\":{}}"
                            : "{\"activeTargets\":[],\"droppedTargets\":[],"
                              "\"droppedTargetCounts\":null}");
}

void
nlt_api_run_targets_metadata(nlt_api_t *a)
{
    nlt_str_t limit = nlt_api_param(a, "limit");
    nlt_str_t match = nlt_api_param(a, "match_target");
    nlt_matcher_t *m;
    int64_t n;
    size_t k;
    nlt_err_t err;

    if (limit.len > 0 && !nlt_num_parse_i64(limit, &n)) {
        nlt_api_fail(a, "bad_data", 400, "limit must be a number");
        return;
    }
    if (match.len > 0) {
        nlt_rc_t rc = nlt_pql_parse_selector(&a->pool, match, &m, &k, &err);

        if (rc == NLT_EINVAL) {
            nlt_api_bad_param(a, "match_target", "%s", err.text);
            return;
        }
        if (rc != NLT_OK) {
            nlt_api_fail_rc(a, &err);
            return;
        }
    }
    nlt_api_data(a, "[]");
}

void
nlt_api_run_scrape_pools(nlt_api_t *a)
{
    nlt_api_data(a, "{\"scrapePools\":[]}");
}

/* There is none, so none is found. */
void
nlt_api_run_scrape_pool_config(nlt_api_t *a)
{
    nlt_str_t pool = nlt_api_param(a, "scrapePool");

    if (pool.len == 0) {
        nlt_api_fail(a, "bad_data", 400, "no scrapePool parameter provided");
        return;
    }
    nlt_api_fail(a, "bad_data", 400,
                 "error retrieving scrape config: scrape pool %.*s not found",
                 NLT_FMT(nlt_api_quote(a, pool)));
}

void
nlt_api_run_relabel_steps(nlt_api_t *a)
{
    if (nlt_api_param(a, "scrapePool").len > 0
        && nlt_api_param(a, "labels").len == 0) {
        nlt_api_fail(a, "bad_data", 400, "no labels parameter provided");
        return;
    }
    nlt_api_run_scrape_pool_config(a);
}

void
nlt_api_run_alertmanagers(nlt_api_t *a)
{
    nlt_api_data(a,
                 "{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}");
}

/* ---- rules ---- */

/* A parameter in lower case; in the pool. */
static nlt_str_t
lower(nlt_api_t *a, const char *name)
{
    nlt_str_t s = nlt_api_param(a, name);
    char *out = nlt_pool_alloc(&a->pool, s.len + 1);

    if (out == NULL) {
        return s;
    }
    for (size_t i = 0; i < s.len; i++) {
        out[i] = (char) tolower((unsigned char) s.data[i]);
    }
    return (nlt_str_t){s.len, out};
}

/* false: answered. */
static bool
check_type(nlt_api_t *a)
{
    nlt_str_t type = lower(a, "type");

    if (type.len == 0 || nlt_str_eq(type, NLT_STR("alert"))
        || nlt_str_eq(type, NLT_STR("record"))) {
        return true;
    }
    nlt_api_bad_param(a, "type", "not supported value %.*s",
                      NLT_FMT(nlt_api_quote(a, type)));
    return false;
}

static bool
check_exclude(nlt_api_t *a)
{
    nlt_str_t s = lower(a, "exclude_alerts");
    bool yes;

    if (s.len == 0 || nlt_api_parse_bool(s, &yes)) {
        return true;
    }
    nlt_api_bad_param(a, "exclude_alerts",
                      "error converting exclude_alerts: strconv.ParseBool: "
                      "parsing %.*s: invalid syntax",
                      NLT_FMT(nlt_api_quote(a, s)));
    return false;
}

/* No group has a token, so whatever is asked for is not there. */
static bool
check_pages(nlt_api_t *a)
{
    nlt_str_t limit = nlt_api_param(a, "group_limit");
    nlt_str_t token = nlt_api_param(a, "group_next_token");
    int64_t n = 0;

    if (limit.len == 0 && token.len > 0) {
        nlt_api_bad_param(a, "group_next_token",
                          "group_limit needs to be present in order to "
                          "paginate over the groups");
        return false;
    }
    /* a number of 32 bits */
    if (limit.len > 0
        && (!nlt_num_parse_i64(limit, &n) || n != (int32_t) n)) {
        nlt_api_bad_param(
            a, "group_limit",
            "group_limit needs to be a valid number: strconv.ParseInt: "
            "parsing %.*s: %s",
            NLT_FMT(nlt_api_quote(a, limit)),
            n != 0 ? "value out of range" : nlt_api_integer_error(limit));
        return false;
    }
    if (limit.len > 0 && n <= 0) {
        nlt_api_bad_param(a, "group_limit",
                          "group_limit needs to be greater than 0");
        return false;
    }
    if (token.len > 0) {
        nlt_api_bad_param(a, "group_next_token",
                          "invalid group_next_token '%.*s'. were rule groups "
                          "changed?",
                          NLT_FMT(nlt_api_cut(token)));
        return false;
    }
    return true;
}

void
nlt_api_run_rules(nlt_api_t *a)
{
    if (nlt_api_check_matches(a) && check_type(a) && check_exclude(a)
        && check_pages(a)) {
        nlt_api_data(a, "{\"groups\":[]}");
    }
}

void
nlt_api_run_alerts(nlt_api_t *a)
{
    nlt_api_data(a, "{\"alerts\":[]}");
}

void
nlt_api_run_notifications(nlt_api_t *a)
{
    nlt_api_data(a, "[]");
}
