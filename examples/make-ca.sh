#!/bin/sh
# A throw-away PKI to try mutual TLS with: examples/mtls.conf uses its files.
#
#   make-ca.sh DIR                           all of it, for a first try
#   make-ca.sh DIR client write|read NAME    one more client certificate
#   make-ca.sh DIR server NAME...            the server's, for other names
#   make-ca.sh DIR revoke write|read NAME    revoke it and renew the CRL
#   make-ca.sh DIR crl                       renew the CRLs (they last 30 days)
#
# Three authorities that trust nobody else, each a root and an issuing one
# below it: `server` (whom clients trust), `write` (who may send samples) and
# `read` (who may query).  In DIR:
#
#   server-ca.crt                 root that clients check the server with
#   server.crt server.key         the server's chain and key
#   write-ca.crt read-ca.crt      roots for ssl_client_certificate
#   write-ca.crl read-ca.crl      CRLs of root and issuing CA for ssl_crl
#   writer.* reader.* admin.*     clients: chain (.crt) and key (.key)
#   admins                        for auth_basic: admin, password "secret"
#   ca/                           the authorities themselves
#
# The keys are not encrypted and lie beside everything else: try with this,
# and let a real authority sign what you rely on.  START= and END= (as in
# 20300101000000Z) set the validity of a client certificate, CRL_END= that of
# the CRLs, OCSP= names the responder in client certificates.
set -eu
umask 077

fail() { echo "make-ca: $*" >&2; exit 1; }
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0" | sed -n '3,7p' >&2; exit 2; }

[ $# -ge 1 ] || usage
command -v openssl > /dev/null || fail "needs openssl"
mkdir -p "$1" || fail "cannot make $1"
cd "$1"
shift

# Runs openssl, silent when it works.
ssl() {
    out=$(openssl "$@" 2>&1) || { printf '%s\n' "$out" >&2; fail "openssl $1 failed"; }
}

# Everything openssl wants to be told, for the authority $1-$2.
config() {
    cat > "ca/$1-$2.cnf" <<CNF
[req]
distinguished_name = dn
prompt = no
[dn]
[ca]
default_ca = this
[this]
certificate = ca/$1-$2.crt
private_key = ca/$1-$2.key
database = ca/$1-$2.index
serial = ca/$1-$2.serial
crlnumber = ca/$1-$2.crlnumber
new_certs_dir = ca
default_md = sha256
default_days = 90
default_crl_days = 30
crl_extensions = crl
unique_subject = no
copy_extensions = none
policy = any
[any]
organizationName = optional
commonName = supplied
[crl]
authorityKeyIdentifier = keyid
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[issuing]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
subjectAltName = ${names:-DNS:localhost}
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
${OCSP:+authorityInfoAccess = OCSP;URI:$OCSP}
[ocsp]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = OCSPSigning
authorityKeyIdentifier = keyid
CNF
    [ -e "ca/$1-$2.index" ] || {
        : > "ca/$1-$2.index"
        openssl rand -hex 16 > "ca/$1-$2.serial"
        echo 01 > "ca/$1-$2.crlnumber"
    }
}

# A key and a request: key file, organisation, common name.
request() {
    ssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -config "$conf" -subj "/O=$2/CN=$3" -keyout "$1" -out ca/request
}

# The authority $1 signs ca/request as $2 into $3.
sign() {
    ssl ca -batch -notext -config "ca/$1.cnf" -extensions "$2" -in ca/request \
        -out "$3" ${4:+-days "$4"} \
        ${START:+-startdate "$START"} ${END:+-enddate "$END"}
}

# Root and issuing authority $1.
authority() {
    mkdir -p ca
    config "$1" root
    conf=ca/$1-root.cnf
    ssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -config "$conf" -extensions root -days 3650 \
        -subj "/O=Try Nightlight/CN=$1 root" \
        -keyout "ca/$1-root.key" -out "ca/$1-root.crt"
    config "$1" issuing
    request "ca/$1-issuing.key" "Try Nightlight" "$1 issuing"
    sign "$1-root" issuing "ca/$1-issuing.crt" 1825
    cp "ca/$1-root.crt" "$1-ca.crt"
}

# nginx wants the CRL of every authority in the chain, in one file.  By
# rename: a reload may read it at any moment.
crl() {
    for a in "$1-root" "$1-issuing"; do
        ssl ca -config "ca/$a.cnf" -gencrl -out "ca/$a.crl" \
            ${CRL_END:+-crl_lastupdate 20200101000000Z -crl_nextupdate "$CRL_END"}
    done
    cat "ca/$1-issuing.crl" "ca/$1-root.crl" > "$1-ca.crl.new"
    mv "$1-ca.crl.new" "$1-ca.crl"
}

# Certificate and issuing CA in one file: what a peer has to send.
chain() {
    cat "ca/$2.pem" "ca/$1-issuing.crt" > "$2.crt.new"
    mv "$2.crt.new" "$2.crt"
}

known() {
    case $1 in write|read) ;; *) fail "write or read, not $1" ;; esac
    [ -e "ca/$1-issuing.key" ] || fail "no authority here: make-ca.sh DIR first"
    case $2 in ''|*[!A-Za-z0-9._-]*|.*) fail "unusable name: $2" ;; esac
}

client() {
    known "$1" "$2"
    conf=ca/$1-issuing.cnf
    config "$1" issuing
    request "$2.key" "Try Nightlight" "$2"
    sign "$1-issuing" client "ca/$2.pem"
    chain "$1" "$2"
}

server() {
    names=
    for n; do
        case $n in
        *[!0-9.]*:*|*:*|[0-9]*.[0-9]*.[0-9]*.[0-9]*) n=IP:$n ;;
        *) n=DNS:$n ;;
        esac
        names=$names${names:+,}$n
    done
    config server issuing
    conf=ca/server-issuing.cnf
    request server.key "Try Nightlight" "$1"
    sign server-issuing server ca/server.pem
    chain server server
}

case ${1-all} in
all)
    [ ! -e ca ] || fail "there is one already: remove it to begin anew"
    for a in server write read; do authority "$a"; done
    server localhost 127.0.0.1 ::1
    client write writer
    client read reader
    client read admin
    crl write
    crl read
    printf 'admin:%s\n' "$(openssl passwd -6 secret)" > admins
    chmod 644 ./*.crt ./*.crl
    ;;
client) [ $# = 3 ] || usage; client "$2" "$3"; chmod 644 "$3.crt" ;;
server) [ $# -ge 2 ] || usage; shift; server "$@"; chmod 644 server.crt ;;
revoke)
    [ $# = 3 ] || usage
    known "$2" "$3"
    [ -e "ca/$3.pem" ] || fail "no certificate of $3"
    ssl ca -config "ca/$2-issuing.cnf" -revoke "ca/$3.pem"
    crl "$2"
    chmod 644 "$2-ca.crl"
    ;;
crl) crl write; crl read; chmod 644 ./*.crl ;;
*) usage ;;
esac
