#!/bin/sh
# Fills in nginx.conf.template from the environment and starts nginx in the
# foreground; arguments go to nginx ("-t" only checks).  The template says
# which variables there are.
set -eu

: "${NIGHTLIGHT_HTTP_ADDR:=127.0.0.1:9101}"
: "${NIGHTLIGHT_DATA_DIR:=/var/lib/nightlight}"
: "${NIGHTLIGHT_RETENTION_DAYS:=15}"
: "${NIGHTLIGHT_MEMORY:=48m}"
: "${NIGHTLIGHT_MODULE:=/usr/lib/nginx/modules/ngx_http_nightlight_module.so}"
export NIGHTLIGHT_HTTP_ADDR NIGHTLIGHT_DATA_DIR NIGHTLIGHT_RETENTION_DAYS \
    NIGHTLIGHT_MEMORY NIGHTLIGHT_MODULE

fail() { echo "nightlight: $*" >&2; exit 1; }

# Nothing that would be more than a value in nginx's configuration.
one() {
    case $2 in
    ''|*[!A-Za-z0-9._:/@+,[\]-]*) fail "$1: unusable value: $2" ;;
    esac
}
one NIGHTLIGHT_HTTP_ADDR "$NIGHTLIGHT_HTTP_ADDR"
one NIGHTLIGHT_DATA_DIR "$NIGHTLIGHT_DATA_DIR"
one NIGHTLIGHT_MEMORY "$NIGHTLIGHT_MEMORY"
one NIGHTLIGHT_MODULE "$NIGHTLIGHT_MODULE"
case $NIGHTLIGHT_DATA_DIR in
/*) ;;
*) fail "NIGHTLIGHT_DATA_DIR: not an absolute path: $NIGHTLIGHT_DATA_DIR" ;;
esac
case $NIGHTLIGHT_RETENTION_DAYS in
''|0*|*[!0-9]*) fail "NIGHTLIGHT_RETENTION_DAYS: not a number of days: $NIGHTLIGHT_RETENTION_DAYS" ;;
esac

nginx=$(command -v nginx || echo /usr/sbin/nginx)
mkdir -p "$NIGHTLIGHT_DATA_DIR/temp" || fail "cannot make $NIGHTLIGHT_DATA_DIR"
# shellcheck disable=SC2016
envsubst '$NIGHTLIGHT_HTTP_ADDR $NIGHTLIGHT_DATA_DIR
    $NIGHTLIGHT_RETENTION_DAYS $NIGHTLIGHT_MEMORY $NIGHTLIGHT_MODULE' \
    < "$(dirname "$0")/nginx.conf.template" > "$NIGHTLIGHT_DATA_DIR/nginx.conf"
exec "$nginx" -p "$NIGHTLIGHT_DATA_DIR/" -c "$NIGHTLIGHT_DATA_DIR/nginx.conf" \
    -e stderr -g 'daemon off;' "$@"
