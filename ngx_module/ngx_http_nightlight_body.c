
/*
 * ngx_http_nightlight_body.c - a request body in one piece.
 *
 * nginx may hand out a body as one buffer, as a chain (bytes that came with
 * the header, HTTP/2, chunked), or in a temporary file.  One buffer is used
 * where it lies; a chain in memory is copied; a file has to be read, which
 * may block, so the caller does that in a thread.
 */


#include "ngx_http_nightlight.h"


ngx_int_t
ngx_http_nightlight_body(ngx_http_request_t *r, ngx_str_t *body, size_t *size)
{
    u_char       *p;
    size_t        len;
    ngx_buf_t    *b;
    ngx_uint_t    n, file;
    ngx_chain_t  *cl;

    ngx_str_null(body);
    *size = 0;

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    n = 0;
    len = 0;
    file = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {

            if (b->last != b->pos) {
                len += b->last - b->pos;
                body->data = b->pos;
                n++;
            }

        } else if (b->in_file) {
            len += (size_t) (b->file_last - b->file_pos);
            file = 1;
        }
    }

    *size = len;

    if (file) {
        return NGX_DECLINED;
    }

    body->len = len;

    if (n <= 1) {
        return NGX_OK;
    }

    p = ngx_palloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    return ngx_http_nightlight_body_read(r, p, len) == 0 ? NGX_OK : NGX_ERROR;
}


/*
 * Runs in a thread: touches only the chain, which nobody changes while the
 * request is blocked, and no pool.
 */

ngx_err_t
ngx_http_nightlight_body_read(ngx_http_request_t *r, u_char *p, size_t size)
{
    u_char       *end;
    off_t         off;
    size_t        len;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    end = p + size;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            len = ngx_min((size_t) (b->last - b->pos), (size_t) (end - p));
            p = ngx_cpymem(p, b->pos, len);
            continue;
        }

        if (!b->in_file) {
            continue;
        }

        for (off = b->file_pos; off < b->file_last && p < end; /* void */) {
            len = ngx_min((size_t) (b->file_last - off), (size_t) (end - p));

            n = pread(b->file->fd, p, len, off);

            if (n < 0 && ngx_errno == NGX_EINTR) {
                continue;
            }

            if (n <= 0) {
                return n < 0 ? ngx_errno : NGX_EPIPE;
            }

            p += n;
            off += n;
        }
    }

    return p == end ? 0 : NGX_EPIPE;
}
