#!/usr/bin/perl
# nginx's own features around the locations: rewriting, conditions, limits,
# access, subrequests, internal redirects, filters, protocols, odd requests.
use strict;
use warnings;
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use Nightlight::Test;

*request_bytes = \&Nightlight::Test::request_bytes;
*form = \&Nightlight::Test::form;

my $FORM = 'application/x-www-form-urlencoded';
my $CURL = Nightlight::Test::_find('curl');

my $t = Nightlight::Test->new();
$t->write_file('root.html', "static\n");
$t->write_conf(
    http => <<'EOL',
    gzip on; gzip_types application/json; gzip_min_length 1;
    limit_req_zone $server_port zone=one:64k rate=1r/m;
    nightlight_limit_zone $http_x_tenant zone=odd:64k;
    log_format status '$uri $status $bytes_sent';
    access_log %%TESTDIR%%/status.log status;
EOL
    server => <<'EOL',
        listen 127.0.0.1:%%PORT_h2%% http2;
        listen 127.0.0.1:%%PORT_tiny%% sndbuf=8k;
        large_client_header_buffers 4 256k;
        lingering_timeout 200ms;
        error_page 404 /missing;
EOL
    locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location = /missing      { internal; return 410; }

        location /prom/api/v1/   { nightlight_query main; }
        location = /one/api/v1/query { nightlight_query main; }
        location = /one/api/v1/status/buildinfo { nightlight_query main; }
        location = /one/api/v1/label/job/values { nightlight_query main; }
        location /slashless      { nightlight_query main; }
        location ^~ /caret/      { nightlight_query main; }

        location /if/api/v1/ {
            nightlight_query main;
            nightlight_lookback 1h;
            set $x 0;
            if ($arg_query) { set $x 1; add_header X-If yes; }
        }
        location = /if/api/v1/write {
            nightlight_write main;
            if ($request_method = POST) { add_header X-If yes always; }
        }
        location = /ifexact/api/v1/query {
            nightlight_query main;
            if ($request_method = GET) { add_header X-If yes; }
        }
        location /except/api/v1/ {
            nightlight_query main;
            limit_except GET { deny all; }
        }
        location = /except/api/v1/write {
            nightlight_write main;
            limit_except GET { allow all; }
        }
        location /outer/ {
            nightlight_query main;
            nightlight_query_max_samples 5;
            location /outer/inner/ { nightlight_query main; }
            location /outer/static/ { root %%TESTDIR%%; }
        }
        location /last/  { rewrite ^/last/(.*)$ /api/v1/$1 last; }
        location /break/api/v1/ {
            rewrite ^/break(.*)$ $1 break;
            nightlight_query main;
        }
        location /try/   { try_files /nothing /api/v1/query?query=vector(7); }
        location /named/ { error_page 404 = @named; root %%TESTDIR%%; }
        location @named  { rewrite ^ /api/v1/query?query=vector(8) last; }
        location /err/   { error_page 404 =200 /api/v1/query?query=vector(9);
                           return 404; }
        location /limited/ { limit_req zone=one; nightlight_query main; }
        location /denied/  { deny all; nightlight_query main; }
        location /any/     { satisfy any; deny all; auth_basic x;
                             auth_basic_user_file %%TESTDIR%%/htpasswd;
                             nightlight_query main; }
        location /auth/    { auth_request /ok; nightlight_query main; }
        location = /auth/write { auth_request /ok; nightlight_write main; }
        location /forbidden/ { auth_request /no; nightlight_query main; }
        location = /ok     { internal; return 204; }
        location = /no     { internal; return 403; }
        location = /mirrored/write { mirror /copy; nightlight_write main; }
        location /mirrored/ { mirror /copy; nightlight_query main; }
        location = /copy   { internal; proxy_pass
                             http://127.0.0.1:%%PORT_http%%/copied/write; }
        location = /copied/write { nightlight_write main; }
        location = /mirror2/write { mirror /direct; nightlight_write main; }
        location = /direct { internal; nightlight_write main; }
        location /authsub/ { auth_request /-/ready; root %%TESTDIR%%; }
        location /post_action/ { post_action /api/v1/query?query=vector(3);
                                 return 204; }
        location /file/    { client_body_in_file_only clean;
                             nightlight_query main; }
        location /small/   { client_max_body_size 1k;
                             client_body_buffer_size 16;
                             nightlight_query main; }
        location /rate/    { limit_rate 200k; limit_rate_after 1k; gzip off;
                             nightlight_query main; }
        location /admin/   { nightlight_admin main; }

        # whose a request is, and what is logged of it, as it says itself
        location /odd/api/v1/ {
            nightlight_query main;
            nightlight_tenant $http_x_tenant;
            nightlight_slow_query 0 %%TESTDIR%%/odd.log;
            nightlight_query_concurrency 2 key=$http_x_tenant;
        }
        location = /odd/api/v1/write {
            nightlight_write main;
            nightlight_tenant $http_x_tenant;
            nightlight_label from=$http_x_from;
            nightlight_limit_samples zone=odd rate=1000000 window=10s;
        }
        location /odd/-/   { nightlight_status main; }
EOL
$t->write_file('htpasswd', "u:{PLAIN}p\n");
$t->run();

my $now = int(time());
is($t->write(map { ({ __name__ => 'm', i => "i$_", long => 'x' x 200 },
    [($now - 60) * 1000, $_], [$now * 1000, $_]) } 1 .. 20), 204, 'written');
is($t->write({ __name__ => 'old' }, [($now - 1800) * 1000, 5]), 204,
    'an older one written');

sub get { my ($uri, %p) = @_;
    return $t->http('GET', $uri . (%p ? '?' . form(%p) : '')) }

# The value of the only series of an answer.
sub one {
    my ($r) = @_;
    my $json = eval { JSON::PP->new->utf8->decode($r->{body}) } || {};
    return $json->{data}{result}[0]{value}[1];
}

sub answers {
    my ($name, $uri, $value, %p) = @_;
    my $r = get($uri, query => "vector($value)", %p);
    is($r->{status}, 200, "$name: status");
    is(one($r), $value, "$name: value");
    return $r;
}

# ---- where a location may be ----

answers('prefix', '/prom/api/v1/query', 11);
answers('exact', '/one/api/v1/query', 12);
is(get('/one/api/v1/status/buildinfo')->{status}, 200, 'exact, of two parts');
is(get('/one/api/v1/label/job/values')->{status}, 200,
    'exact, of three parts');
answers('prefix without slash', '/slashless/query', 13);
answers('^~', '/caret/query', 14);
answers('inner location', '/outer/inner/query', 15);
answers('rewrite ... last', '/last/query', 16);
answers('rewrite ... break', '/break/api/v1/query', 17);
is(one(get('/try/x')), 7, 'try_files');
is(one(get('/named/x')), 8, 'named location');
is(one(get('/err/x')), 9, 'error_page');
is(get('/outer/inner/query', query => 'm')->{status}, 422,
    'an inner location inherits the limits');
is(get('/outer/static/root.html')->{status}, 410, 'but not the handler');

# ---- conditions ----

my $r = answers('if', '/if/api/v1/query', 18);
is($r->{headers}{'x-if'}, 'yes', 'if: its own directives hold');
is(one(get('/if/api/v1/query', query => 'old')), 5,
    'if: directives of the location hold');
answers('if in an exact location', '/ifexact/api/v1/query', 19);
is($t->write_pb(Nightlight::Test::series_pb({ __name__ => 'cond' },
    [$now * 1000, 1]), uri => '/if/api/v1/write')->{status}, 204,
    'if in a write location');
is(one(get('/api/v1/query', query => 'cond')), 1, 'if: written');
answers('limit_except, not excepted', '/except/api/v1/query', 20);
is($t->http('POST', '/except/api/v1/query', body => 'query=1',
    headers => { 'Content-Type' => $FORM })->{status}, 403,
    'limit_except refuses');
is($t->write_pb(Nightlight::Test::series_pb({ __name__ => 'exc' },
    [$now * 1000, 1]), uri => '/except/api/v1/write')->{status}, 204,
    'limit_except that allows leaves the handler');

# ---- access and limits ----

answers('limit_req, the first', '/limited/query', 21);
is(get('/limited/query', query => '1')->{status}, 503, 'limit_req refuses');
is(get('/denied/query', query => '1')->{status}, 403, 'deny');
is(get('/any/query', query => '1')->{status}, 401, 'satisfy any: neither');
is(one($t->http('GET', '/any/query?query=vector(22)',
    headers => { Authorization => 'Basic dTpw' })), 22,
    'satisfy any: auth_basic');
answers('auth_request', '/auth/query', 23);
is(get('/forbidden/query', query => '1')->{status}, 403,
    'auth_request refuses');
is(one($t->http('POST', '/auth/query', body => 'query=vector(24)',
    headers => { 'Content-Type' => $FORM })), 24, 'auth_request and a body');
is($t->write_pb(Nightlight::Test::series_pb({ __name__ => 'auth' },
    [$now * 1000, 1]), uri => '/auth/write')->{status}, 204,
    'auth_request before a write');

# ---- subrequests ----

is($t->write_pb(Nightlight::Test::series_pb({ __name__ => 'mir' },
    [$now * 1000, 3]), uri => '/mirrored/write')->{status}, 204,
    'a mirrored write');
is(one(get('/api/v1/query', query => 'mir')), 3, 'is written');
answers('a mirrored query', '/mirrored/query', 25);
is($t->write_pb(Nightlight::Test::series_pb({ __name__ => 'mir2' },
    [$now * 1000, 4]), uri => '/mirror2/write')->{status}, 204,
    'a write mirrored into the store itself');
is(one(get('/api/v1/query', query => 'mir2')), 4, 'is written');
is(get('/authsub/root.html')->{status}, 500, 'auth_request of our location');
is(get('/post_action/')->{status}, 204, 'post_action');

# ---- methods ----

for my $m (qw(HEAD OPTIONS DELETE PUT PATCH TRACE PROPFIND FOO)) {
    for my $uri ('/api/v1/query?query=1', '/-/ready', '/metrics',
        '/api/v1/write', '/admin/x')
    {
        my $r = $t->http($m, $uri);
        cmp_ok($r->{status}, '>=', 200, "$m $uri: $r->{status}");
        cmp_ok($r->{status}, '<', 500, "$m $uri: no error of the server")
            if $uri !~ /admin/;
        is($r->{body}, '', "HEAD $uri: no body") if $m eq 'HEAD';
    }
}
my $head = $t->http('HEAD', '/-/ready');
is($head->{status}, 200, 'HEAD of ready');
my $opt = $t->http('OPTIONS', '/api/v1/query',
    headers => { Origin => 'https://grafana.example.org' });
is($opt->{status}, 204, 'OPTIONS');
like($opt->{headers}{'access-control-allow-methods'}, qr/GET/,
    'OPTIONS says what is allowed');

# ---- bodies ----

for my $loc ('/api/v1', '/file', '/small') {
    my $body = form(query => 'vector(31)') . '&x=' . 'y' x 500;
    is(one($t->http('POST', "$loc/query", body => $body,
        headers => { 'Content-Type' => $FORM })), 31, "$loc: a form");
    my $chunked = join('', map { sprintf("%x\r\n%s\r\n", length $_, $_) }
        $body =~ /(.{1,7})/g) . "0\r\n\r\n";
    is(one($t->http('POST', "$loc/query", body => $chunked, headers => {
        'Content-Type' => $FORM, 'Transfer-Encoding' => 'chunked' })), 31,
        "$loc: chunked");
    my $s = $t->connect();
    Nightlight::Test::send_all($s, request_bytes('POST', "$loc/query",
        { 'Content-Type' => $FORM, Expect => '100-continue',
        'Content-Length' => length $body }, ''));
    sysread($s, my $go, 100);
    is($go, "HTTP/1.1 100 Continue\r\n\r\n", "$loc: is told to go on");
    is(one($t->http_raw($s, $body)), 31, "$loc: Expect: 100-continue");
}
is($t->http('POST', '/small/query', body => 'query=' . '1+' x 1000 . '1',
    headers => { 'Content-Type' => $FORM })->{status}, 413,
    'a form over the limit');
for my $uri ('/api/v1/write', '/-/ready', '/metrics') {
    my $s = $t->connect();
    my $r = $t->http_raw($s, request_bytes('POST', $uri,
        { Expect => '100-continue', 'Content-Length' => 100000,
        'Content-Type' => 'text/plain' }, ''));
    cmp_ok($r->{status}, '>=', 400, "$uri refused before the body is sent");
}
is(one($t->http('GET', '/api/v1/query?query=vector(32)',
    body => 'z' x 100000)), 32, 'GET with a body that nobody wants');

# ---- long and odd URLs ----

is(one(get('/api/v1/query', query => 'vector(33) or m{i="' . 'a' x 200_000
    . '"}')), 33, 'a URL of 200 KB');
is(get('/api/v1/label/' . 'a' x 100000 . '/values')->{status}, 200,
    'a label name of 100 KB');
for my $case (['%5f%5fname__', 200], ['U__a_2e_b', 200], ['%C3%A9', 200],
    ['a%2Fb', 404], ['%ff%fe', 400], ['', 404], ['..%2f', 404], ['%2e%2e', 404],
    ['a%0ab', 200], ['a%00b', 400], ['%', 400], ['a b', 400])
{
    my ($name, $status) = @$case;
    my $r = get("/api/v1/label/$name/values");
    is($r->{status}, $status, "label name $name") if $name !~ /\.\.|2e2e/;
}
for my $q ('%', '%4', '%zz', '&&&&', '=', '&=&=', 'query', 'query=%00',
    'query=%ff%fe', 'query=1;time=2', 'query=1#x', '?query=1')
{
    my $r = get("/api/v1/query?$q");
    cmp_ok($r->{status}, '<', 500, "arguments $q: $r->{status}");
}

# ---- keep-alive: several requests in one segment ----

sub many {
    my ($s, $n) = @_;
    my ($data, @r) = ('');
    local $SIG{ALRM} = sub { die "timeout\n" };
    alarm(20);
    while (@r < $n) {
        if ($data =~ /^(HTTP.*?\r\n\r\n)/s) {
            my $h = $1;
            my ($len) = $h =~ /content-length: (\d+)/i;
            my $all;
            if (defined $len || $h =~ m{^HTTP/1.1 204}) {
                $len ||= 0;
                $all = length($h) + $len if length $data >= length($h) + $len;
            } elsif ($data =~ /^(HTTP.*?\r\n0\r\n\r\n)/s) {
                $all = length $1;
            }
            if ($all) {
                push @r, Nightlight::Test::parse_response(
                    substr($data, 0, $all, ''));
                next;
            }
        }
        sysread($s, $data, 65536, length $data) or last;
    }
    alarm(0);
    return @r;
}

{
    my $s = $t->connect();
    my $req = '';
    my @want;
    for my $i (1 .. 30) {
        my %h = (Connection => 'keep-alive');
        if ($i % 5 == 0) {
            $req .= $t->write_bytes(Nightlight::Test::snappy(
                Nightlight::Test::series_pb({ __name__ => 'pipe', i => "$i" },
                [$now * 1000, $i])));
            push @want, '';
        } elsif ($i % 5 == 1) {
            $req .= request_bytes('POST', '/api/v1/query', { %h,
                'Content-Type' => $FORM }, "query=vector($i)");
            push @want, $i;
        } elsif ($i % 5 == 2) {
            $req .= request_bytes('GET', '/api/v1/query?query=pipe%7B%7D'
                . "%20or%20vector($i)", \%h);
            push @want, undef;
        } elsif ($i % 5 == 3) {
            $req .= request_bytes('GET', '/-/ready', \%h, 'a body');
            push @want, undef;
        } else {
            $req .= request_bytes('GET', "/api/v1/query?query=vector($i)",
                \%h);
            push @want, $i;
        }
    }
    Nightlight::Test::send_all($s, $req);
    my @got = many($s, 30);
    is(scalar @got, 30, 'thirty answers to requests in one segment');
    for my $i (0 .. $#got) {
        next unless defined $want[$i];
        is($want[$i] eq '' ? $got[$i]{status} : one($got[$i]),
            $want[$i] || 204, 'pipelined ' . ($i + 1));
    }
    is(one(get('/api/v1/query', query => 'count(pipe)')), 6,
        'pipelined writes are all there');
}

# ---- filters: gzip, rate, ranges, HTTP/1.0, HTTP/2 ----

my $big = form(query => 'label_replace(m, "x", "$1", "i", "(.*)")',
    start => $now - 60, end => $now, step => '0.05');
my $plain = $t->http('GET', "/api/v1/query_range?$big");
is($plain->{status}, 200, 'a large answer');
cmp_ok(length $plain->{body}, '>', 500000, 'of half a megabyte');

SKIP: {
    skip 'no curl', 8 unless $CURL;
    my $url = 'http://127.0.0.1:' . $t->port('http');
    my $h2 = 'http://127.0.0.1:' . $t->port('h2');
    my $got = `$CURL -s --compressed '$url/api/v1/query_range?$big'`;
    ok($got eq $plain->{body}, 'the same with gzip');
    my $hdr = `$CURL -s -o /dev/null -D - --compressed '$url/api/v1/query_range?$big'`;
    like($hdr, qr/content-encoding: gzip/i, 'is compressed');
    $got = `$CURL -s -0 '$url/api/v1/query_range?$big'`;
    ok($got eq $plain->{body}, 'the same over HTTP/1.0');
    $got = `$CURL -s -r 10-20 '$url/api/v1/query_range?$big'`;
    ok($got eq $plain->{body}, 'a range is not served');
    $got = `$CURL -s '$url/rate/query_range?$big'`;
    ok($got eq $plain->{body}, 'the same with limit_rate');
    $got = `$CURL -s --limit-rate 300k '$url/rate/query_range?$big'`;
    ok($got eq $plain->{body}, 'the same with limit_rate and a slow client');
    $got = `$CURL -s --http2-prior-knowledge '$h2/api/v1/query_range?$big'`;
    ok($got eq $plain->{body}, 'the same over HTTP/2');
    $got = `$CURL -s --compressed --http2-prior-knowledge --limit-rate 1m '$h2/api/v1/query_range?$big'`;
    ok($got eq $plain->{body}, 'the same over HTTP/2, compressed, slowly');
}

# small socket buffers and a slow reader: the socket becomes writable while
# limit_rate has the answer wait
{
    my $s = $t->connect('tiny');
    setsockopt($s, SOL_SOCKET, SO_RCVBUF, 8192);
    local $SIG{ALRM} = sub { die "timeout\n" };
    my $data = '';
    eval {
        alarm(30);
        Nightlight::Test::send_all($s, request_bytes('GET',
            "/rate/query_range?$big"));
        for (1 .. 60) {
            sysread($s, $data, 1000, length $data);
            select(undef, undef, undef, 0.01);
        }
        1 while sysread($s, $data, 65536, length $data);
    };
    alarm(0);
    ok(Nightlight::Test::parse_response($data)->{body} eq $plain->{body},
        'limit_rate and a slow reader: the answer goes on');
}

# ---- whatever headers, paths and parameters say ----
#
# Requests made of pieces that mean something, cut, doubled and with bytes
# changed: each is answered, with a status that it may have, and nothing that
# it says breaks a line of a log.  NLT_TEST_SEED and NLT_ODD_N say more of it.
{
    my $seed = $ENV{NLT_TEST_SEED} || int rand 1e9;
    my $n = $ENV{NLT_ODD_N} || 300;
    srand $seed;
    sub pick { return $_[rand @_] }
    my @pieces = ('application/json', 'text/plain', '*/*', 'snappy', 'gzip',
        'application/x-protobuf', ';q=0.5', ';q=', ',', ';proto=',
        'io.prometheus.write.v2.Request', 'escaping=values', 'team-a', '..',
        '/', '%00', '%2e%2e', "\xc3\xa9", "\xff", "\x01", "\x7f", '"', '\\',
        "\t", ' ', '{}', '$x', 'x' x 130, '0', '-1', '1e400', '9' x 30,
        'multipart/form-data; boundary=', 'b', '&', '=', ';', '+', '#', '?');
    my @paths = map { "/odd/api/v1/$_" } qw(query query_range series labels
        label/a/values metadata status/tsdb read format_query write write
        query_exemplars admin/tsdb/snapshot);
    push @paths, '/odd/-/ready', '/odd/-/healthy', '/odd/-/flush/', '/federate';
    my $text = sub {
        my $s = join '', map { pick(@pieces) } 0 .. rand 4;
        substr($s, rand length $s, 1) = chr rand 256 if rand() < 0.3;
        return $s =~ s/[\r\n\0]//gr;
    };
    my $pairs = sub { join '&', map {
        (rand() < 0.7 ? pick(qw(query match[] start end step time format limit))
            : $text->()) . '=' . (rand() < 0.5 ? pick('m', 'm[5m]', '1', $now)
            : $text->()) } 1 .. rand 4 };
    my %status;
    my $bad = '';
    for my $i (1 .. $n) {
        my %h = (Connection => 'close',
            map { ($_ => $text->()) } grep { rand() < 0.5 } qw(X-Tenant X-From
            Accept Content-Type Content-Encoding Origin Expect Range
            X-Prometheus-Remote-Write-Version Accept-Encoding));
        $h{'X-Tenant'} = 'team-a' if rand() < 0.3;
        my $uri = (rand() < 0.8 ? pick(@paths) : pick(@paths) . $text->());
        $uri =~ s/([^!-~]|[?#])/sprintf '%%%02x', ord $1/ge;
        my $args = $pairs->() =~ s/([^!-~]|#)/sprintf '%%%02x', ord $1/ger;
        my $body = rand() < 0.5 ? $pairs->()
            : rand() < 0.5 ? snappy_of($i) : undef;
        my $method = pick(qw(GET GET POST POST PUT HEAD OPTIONS DELETE));
        my $s = $t->connect();
        Nightlight::Test::send_all($s, request_bytes($method,
            $args ne '' ? "$uri?$args" : $uri, \%h, $body));
        my $r = eval { Nightlight::Test::read_response($s, 20) } || {};
        my $code = $r->{status} || 0;
        $status{$code}++;
        $bad .= "$i: $method $uri: $code\n" if $code !~
            /^(?:20[04]|206|301|30[0-9]|40[03458]|41[0-7]|422|429|503)$/;
    }
    is($bad, '', "seed $seed: $n odd requests are answered")
        or diag(join ' ', %status);
    cmp_ok(scalar keys %status, '>=', 5, 'in many ways: ' . join ' ',
        map { "$_: $status{$_}" } sort keys %status);
    my @slow = split /\n/, $t->read_file('odd.log');
    cmp_ok(scalar @slow, '>', 10, 'slow queries are logged');
    is(join("\n", grep { !/^20\S+ client=127\.0\.0\.1 seconds=.* path="(?:[^"\\]|\\.)*"(?: \w+="(?:[^"\\]|\\.)*")*$/
        || /[\x00-\x1f\x7f]/ } @slow), '', 'each on a line of its own');
    is(scalar $t->log_lines(qr/exited on signal/), 0, 'no worker has died');
}
sub snappy_of {
    my ($i) = @_;
    return Nightlight::Test::snappy(Nightlight::Test::series_pb(
        { __name__ => 'odd', i => $i }, [$now * 1000, 1]));
}

# ---- the access log has them all ----

my $log = $t->read_file('status.log');
like($log, qr{^/api/v1/query_range 200 \d{6,}$}m, 'status and bytes logged');

$t->done();
