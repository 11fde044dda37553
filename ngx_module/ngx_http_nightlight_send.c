
/*
 * ngx_http_nightlight_send.c - answers on their way out.
 *
 * A long answer is rendered by core in parts of 64 KiB, at most four of them
 * in memory, as fast as the client takes them; a fast one has to wait after
 * some of them until other connections have had their turn.  Where core makes
 * the answer part by part, the next one is asked for when the client has taken
 * all that was made.
 */


#include "ngx_http_nightlight.h"


#define NGX_HTTP_NIGHTLIGHT_PART         65536
#define NGX_HTTP_NIGHTLIGHT_PARTS_MAX    4
#define NGX_HTTP_NIGHTLIGHT_TURN         8       /* parts */


static void ngx_http_nightlight_content_type(ngx_http_request_t *r,
    nlt_str_t type);
static ngx_chain_t *ngx_http_nightlight_send_part(
    ngx_http_nightlight_out_t *out);
static ngx_int_t ngx_http_nightlight_send_render(
    ngx_http_nightlight_out_t *out, ngx_chain_t *cl);
static ngx_int_t ngx_http_nightlight_send_output(
    ngx_http_nightlight_out_t *out);
static void ngx_http_nightlight_send_wait(ngx_http_nightlight_out_t *out);


ngx_int_t
ngx_http_nightlight_add_header(ngx_http_request_t *r, const char *key,
    const char *value)
{
    size_t            len;
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    len = ngx_strlen(value);

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.len = ngx_strlen(key);
    h->key.data = (u_char *) key;

    h->value.len = len;
    h->value.data = ngx_pnalloc(r->pool, len + 1);
    if (h->value.data == NULL) {
        h->hash = 0;
        return NGX_ERROR;
    }

    ngx_memcpy(h->value.data, value, len + 1);

    return NGX_OK;
}


static ngx_int_t
ngx_http_nightlight_content_encoding(ngx_http_request_t *r, nlt_str_t value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    ngx_str_set(&h->key, "Content-Encoding");
    h->value.len = value.len;
    h->value.data = (u_char *) value.data;

    /* and nobody compresses it once more */

    r->headers_out.content_encoding = h;

    return NGX_OK;
}


static ngx_int_t
ngx_http_nightlight_retry_after(ngx_http_request_t *r, ngx_uint_t seconds)
{
    u_char  buf[NGX_INT_T_LEN + 1];

    *ngx_sprintf(buf, "%ui", seconds) = '\0';

    return ngx_http_nightlight_add_header(r, "Retry-After", (char *) buf);
}


ngx_int_t
ngx_http_nightlight_send_text(ngx_http_request_t *r, ngx_uint_t status,
    nlt_str_t text, ngx_uint_t retry_after)
{
    return ngx_http_nightlight_send_type(r, status,
                                         NLT_STR("text/plain; charset=utf-8"),
                                         text, retry_after);
}


ngx_int_t
ngx_http_nightlight_send_type(ngx_http_request_t *r, ngx_uint_t status,
    nlt_str_t type, nlt_str_t text, ngx_uint_t retry_after)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    /* who waits for "100 Continue" keeps a body that nobody wants */

    r->expect_tested = 1;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (retry_after
        && ngx_http_nightlight_retry_after(r, retry_after) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = ngx_create_temp_buf(r->pool, text.len + 1);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_cpymem(b->last, text.data, text.len);
    *b->last++ = '\n';
    b->last_buf = 1;
    b->last_in_chain = 1;

    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;
    ngx_http_nightlight_content_type(r, type);

    rc = ngx_http_send_header(r);

    if (rc != NGX_ERROR && rc <= NGX_OK && !r->header_only) {
        out.buf = b;
        out.next = NULL;

        rc = ngx_http_output_filter(r, &out);
    }

    /* what the client has not taken yet is sent after finalization */

    return rc == NGX_AGAIN ? NGX_OK : rc;
}


static void
ngx_http_nightlight_content_type(ngx_http_request_t *r, nlt_str_t type)
{
    size_t  len;

    for (len = 0; len < type.len && type.data[len] != ';'; len++) {
        /* void */
    }

    r->headers_out.content_type.len = type.len;
    r->headers_out.content_type.data = (u_char *) type.data;
    r->headers_out.content_type_len = len;
    r->headers_out.content_type_lowcase = NULL;
}


/* The header, then the body as far as it goes at once. */

ngx_int_t
ngx_http_nightlight_send(ngx_http_nightlight_out_t *out)
{
    ngx_int_t                rc;
    ngx_http_request_t      *r;
    const nlt_api_answer_t  *answer;

    r = out->request;
    answer = nlt_api_answer(out->api);

    r->headers_out.status = answer->status;
    r->headers_out.content_length_n = -1;

    if (answer->content_type.len) {
        ngx_http_nightlight_content_type(r, answer->content_type);
    }

    if (answer->cors && ngx_http_nightlight_cors(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (answer->nosniff
        && ngx_http_nightlight_add_header(r, "X-Content-Type-Options",
                                          "nosniff")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (answer->content_encoding.len
        && ngx_http_nightlight_content_encoding(r, answer->content_encoding)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if ((answer->allow.len
         && ngx_http_nightlight_add_header(r, "Allow", answer->allow.data)
            != NGX_OK)
        || (answer->retry_after_s > 0
            && ngx_http_nightlight_retry_after(r, answer->retry_after_s)
               != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (answer->has_body) {

        /* most answers are one part long: then their length is known */

        out->ready = ngx_http_nightlight_send_part(out);

        if (out->ready == NULL
            || ngx_http_nightlight_send_render(out, out->ready) != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (out->last) {
            r->headers_out.content_length_n = ngx_buf_size(out->ready->buf);
        }

    } else {
        r->header_only = 1;
        r->headers_out.content_length_n = 0;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {

        /* a header that has to wait is sent after finalization */

        return rc == NGX_AGAIN ? NGX_OK : rc;
    }

    rc = ngx_http_nightlight_send_output(out);

    if (rc == NGX_AGAIN) {
        ngx_http_nightlight_send_wait(out);
    }

    return rc;
}


/* A free part of the answer, or NULL when all are on their way. */

static ngx_chain_t *
ngx_http_nightlight_send_part(ngx_http_nightlight_out_t *out)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = out->free;

    if (cl) {
        out->free = cl->next;
        cl->next = NULL;
        cl->buf->pos = cl->buf->start;
        cl->buf->last = cl->buf->start;
        return cl;
    }

    if (out->parts == NGX_HTTP_NIGHTLIGHT_PARTS_MAX) {
        return NULL;
    }

    cl = ngx_alloc_chain_link(out->request->pool);
    b = ngx_create_temp_buf(out->request->pool, NGX_HTTP_NIGHTLIGHT_PART);

    if (cl == NULL || b == NULL) {
        return NULL;
    }

    b->tag = (ngx_buf_tag_t) &ngx_http_nightlight_module;
    cl->buf = b;
    cl->next = NULL;
    out->parts++;

    return cl;
}


static ngx_int_t
ngx_http_nightlight_send_render(ngx_http_nightlight_out_t *out,
    ngx_chain_t *cl)
{
    size_t      len;
    nlt_rc_t    rv;
    ngx_buf_t  *b;

    b = cl->buf;

    rv = nlt_api_render(out->api, (char *) b->last, NGX_HTTP_NIGHTLIGHT_PART,
                        &len);

    if (rv != NLT_OK && rv != NLT_AGAIN) {
        ngx_log_error(NGX_LOG_ERR, out->request->connection->log, 0,
                      "nightlight: answer broken off: %s; %s",
                      nlt_rc_text(rv), nlt_rc_todo(rv));
        return NGX_ERROR;
    }

    out->last = (rv == NLT_OK);
    out->work = !out->last && nlt_api_needs_work(out->api);

    b->last += len;
    b->temporary = (len != 0);  /* nothing at all is a special buffer */
    b->flush = 1;
    b->last_buf = out->last;
    b->last_in_chain = out->last;

    return NGX_OK;
}


/*
 * NGX_AGAIN: more when the client has taken what is on its way; NGX_DECLINED:
 * it has, and more has to be made.
 */

static ngx_int_t
ngx_http_nightlight_send_output(ngx_http_nightlight_out_t *out)
{
    ngx_int_t            rc;
    ngx_uint_t           n;
    ngx_chain_t         *cl;
    ngx_http_request_t  *r;

    r = out->request;

    for (n = 1; /* void */; n++) {
        cl = out->ready;
        out->ready = NULL;

        if (cl == NULL && !out->work) {
            cl = ngx_http_nightlight_send_part(out);

            if (cl == NULL && out->parts == 0) {
                return NGX_ERROR;
            }

            if (cl && ngx_http_nightlight_send_render(out, cl) != NGX_OK) {
                return NGX_ERROR;
            }
        }

        rc = ngx_http_output_filter(r, cl);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (out->last) {

            /* what is left nginx's own writer sends */

            ngx_http_nightlight_api_rendered(out);

            return NGX_OK;
        }

        ngx_chain_update_chains(r->pool, &out->free, &out->busy, &cl,
                                (ngx_buf_tag_t) &ngx_http_nightlight_module);

        if (rc == NGX_AGAIN || r->buffered || r->connection->buffered) {
            return NGX_AGAIN;
        }

        if (out->work) {
            return NGX_DECLINED;
        }

        if (n == NGX_HTTP_NIGHTLIGHT_TURN) {
            out->turn = 1;
            return NGX_AGAIN;
        }
    }
}


static void
ngx_http_nightlight_send_wait(ngx_http_nightlight_out_t *out)
{
    ngx_event_t               *wev;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = out->request;
    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    /* a client that leaves is noticed also if it takes nothing any more */

    r->read_event_handler = r->discard_body
                            ? ngx_http_discarded_request_body_handler
                            : ngx_http_test_reading;

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        r->connection->error = 1;
        ngx_post_event(wev, &ngx_posted_events);
        return;
    }

    if (out->turn) {
        out->turn = 0;
        ngx_post_event(wev, &ngx_posted_next_events);
    }
}


void
ngx_http_nightlight_send_more(ngx_http_nightlight_out_t *out)
{
    ngx_int_t            rc;
    ngx_event_t         *wev;
    ngx_http_request_t  *r;

    r = out->request;
    wev = r->connection->write;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT,
                      "client timed out");
        r->connection->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (wev->posted) {
        ngx_delete_posted_event(wev);
    }

    if (wev->delayed && !r->connection->error) {

        /* limit_rate: the timer is its own and says when to go on */

        ngx_http_nightlight_send_wait(out);
        ngx_http_nightlight_api_waits(out);
        return;
    }

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    rc = r->connection->error ? NGX_ERROR
                              : ngx_http_nightlight_send_output(out);

    if (rc == NGX_AGAIN) {
        ngx_http_nightlight_send_wait(out);
        ngx_http_nightlight_api_waits(out);
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_nightlight_api_again(out);
        return;
    }

    ngx_http_finalize_request(r, rc);
}
