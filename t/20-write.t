#!/usr/bin/perl
# remote_write 1.0: what is accepted, what is refused, what is kept.
use strict;
use warnings;
no warnings 'portable';      # 64-bit integers are needed anyway
use Test::More;
use Nightlight::Test;

*field = \&Nightlight::Test::field;
*series_pb = \&Nightlight::Test::series_pb;
*snappy = \&Nightlight::Test::snappy;
*exchange = \&Nightlight::Test::exchange;

my $t = Nightlight::Test->new();
$t->write_conf(
    http => 'gzip on; gzip_types application/json; gzip_min_length 1;',
    server => 'listen 127.0.0.1:%%PORT_h2%% http2;',
    locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location = /small/write {
            nightlight_write main;
            client_body_buffer_size 1k;
        }
        location = /file/write {
            nightlight_write main;
            client_body_in_file_only clean;
        }
        location = /limited/write {
            nightlight_write main;
            client_max_body_size 64k;
            nightlight_write_max_decoded 64k;
            nightlight_max_labels 3;
            nightlight_max_label_name 8;
            nightlight_max_label_value 16;
        }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOL
$t->run();

my $now = int(time()) * 1000;
my $seq = 0;

sub name { return sprintf('%s_%d', $_[0] || 'm', ++$seq) }
sub bits { return \pack('Q<', $_[0]) }

# The samples of a series as "t value" in time order, from the store.
sub samples {
    my ($selector) = @_;
    my $r = $t->query("{$selector}[10d]", time => $now / 1000 + 900)->{result};
    return @$r ? [map { [$_->[0] * 1000, $_->[1]] } @{$r->[0]{values}}] : [];
}

sub n_series { scalar @{$t->query("{$_[0]}", time => $now / 1000)->{result}} }

sub refused {
    my ($r, $status, $text, $what) = @_;
    is($r->{status}, $status, "$what: status");
    if (ref $text) {
        like($r->{body}, $text, "$what: text");
    } else {
        is($r->{body}, "$text\n", "$what: text");
    }
    is($r->{headers}{'content-type'}, 'text/plain; charset=utf-8',
        "$what: plain text") if $status != 413;
}

# ---- negotiation comes before anything in the body ----

my $pb = series_pb({ __name__ => 'negotiated' }, [$now, 1]);

for my $case (
    ['application/json', undef,
        'expected application/x-protobuf as the first (media) part, got '
        . 'application/json content-type'],
    ['image/png', undef, 'expected application/x-protobuf as the first '
        . '(media) part, got image/png content-type'],
    ['application/x-protobuf;proto', undef,
        'as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected '
        . 'parameters to be key-values, got proto in '
        . 'application/x-protobuf;proto content-type'],
    ['application/x-protobuf;proto=no.such', undef,
        qr/unknown type for remote write protobuf message no\.such/],
    [undef, 'gzip', 'gzip encoding (compression) is not accepted by this '
        . 'server; only snappy is acceptable'],
    [undef, 'deflate', 'deflate encoding (compression) is not accepted by '
        . 'this server; only snappy is acceptable'],
)
{
    my ($type, $encoding, $text) = @$case;
    my %h = (defined $type ? ('Content-Type' => $type) : (),
        defined $encoding ? ('Content-Encoding' => $encoding) : ());
    my $what = $type || $encoding;
    refused($t->write_pb($pb, headers => \%h), 415, $text, $what);
    is($t->write_raw("\xff" x 20, headers => \%h)->{status}, 415,
        "$what: with a corrupt body too");
}

for my $type (undef, 'application/x-protobuf', 'Application/X-Protobuf',
    'application/x-protobuf;proto=prometheus.WriteRequest',
    'application/x-protobuf; proto=prometheus.WriteRequest',
    'application/x-protobuf;charset=utf-8')
{
    is($t->write_pb($pb, headers => { 'Content-Type' => $type })->{status},
        204, 'type ' . (defined $type ? $type : 'absent'));
}
is($t->write_pb($pb, headers => { 'Content-Encoding' => undef })->{status},
    204, 'no Content-Encoding means snappy');
is($t->write_pb($pb, headers => { 'X-Prometheus-Remote-Write-Version' => '9' })
    ->{status}, 204, 'the version header is not looked at');

for my $method (qw(GET PUT DELETE HEAD)) {
    my $r = $t->http($method, '/api/v1/write');
    is($r->{status}, 405, "$method: status");
    is($r->{headers}{allow}, 'OPTIONS, POST', "$method: Allow");
}

my $r = $t->write_pb(series_pb({ __name__ => 'ok' }, [$now, 1]));
is($r->{status}, 204, 'accepted');
is($r->{body}, '', 'accepted: no body');
ok(!exists $r->{headers}{'x-prometheus-remote-write-samples-written'},
    'accepted: no statistics in 1.0');

# ---- bodies ----

is($t->write_raw(snappy(''))->{status}, 204, 'empty request');
refused($t->write_raw(''), 400, 's2: corrupt input', 'body of zero bytes');
refused($t->write_raw("\xff" x 50), 400, 's2: corrupt input', 'no snappy');
refused($t->write_raw("\x80\x80\x80\x20"), 400,
    'decoded size exceeds the 33554432 bytes limit (nightlight_write_max_decoded)',
    'declared size');
refused($t->write_pb("\xff\xff\xff"), 400, 'unexpected EOF', 'no protobuf');
refused($t->write_pb("\x0a\x7f\x0a"), 400, 'unexpected EOF', 'cut protobuf');
like($t->write_pb("\x07")->{body}, qr/^proto: /, 'illegal wire type');
is($t->write_pb(field(3, "\x08\x01\x12\x01m"))->{status}, 204,
    'metadata only');
is($t->write_pb(field(9, 'unknown') . $pb)->{status}, 204,
    'unknown fields are skipped');
is($t->write_pb(series_pb({ __name__ => 'no_samples' }))->{status}, 204,
    'a series without samples');
is(n_series('__name__="no_samples"'), 0, 'makes no series');

is($t->http('POST', '/limited/write', headers => \%Nightlight::Test::WRITE_HEADERS,
    body => "\0" x 70_000)->{status}, 413, 'larger than client_max_body_size');
refused($t->write_raw("\x81\x80\x04", uri => '/limited/write'), 400,
    'decoded size exceeds the 65536 bytes limit (nightlight_write_max_decoded)',
    'nightlight_write_max_decoded');

# ---- label sets ----

for my $case (
    ['no name', [[a => 'b']]],
    ['empty metric name', [['__name__', ''], [a => 'b']]],
    ['empty label name', [['__name__', 'bad'], ['', 'x']]],
    ['duplicate label', [['__name__', 'bad'], [a => '1'], [a => '2']]],
    ['no labels', []],
)
{
    my ($what, $labels) = @$case;
    my $good = name('beside');
    is($t->write_pb(series_pb($labels, [$now, 1])
        . series_pb({ __name__ => $good }, [$now, 1]))->{status}, 204,
        "$what: 204");
    is(n_series("__name__=\"$good\""), 1, "$what: the series beside it is kept");
}
{
    my $good = name('beside');
    my $bad = field(1, field(1, field(1, '__name__') . field(2, "bad\xff"))
        . Nightlight::Test::sample_pb([$now, 1]));
    is($t->write_pb($bad . series_pb({ __name__ => $good }, [$now, 1]))
        ->{status}, 204, 'invalid UTF-8: 204');
    is(n_series("__name__=\"$good\""), 1, 'invalid UTF-8: the other is kept');
}
is(n_series('a="b"'), 0, 'series without a name are not kept');
is(n_series('__name__=~"bad.*"'), 0, 'invalid ones neither');

is($t->write([['zone', 'z'], ['__name__', 'unsorted'], ['area', 'a'],
    ['empty', '']], [$now, 1]), 204, 'unsorted labels with an empty value');
is($t->write([['area', 'a'], ['__name__', 'unsorted'], ['zone', 'z']],
    [$now, 1]), 204, 'the same set in another order');
my $res = $t->query('unsorted', time => $now / 1000)->{result};
is_deeply($res, [{ metric => { __name__ => 'unsorted', area => 'a',
    zone => 'z' }, value => [$now / 1000, '1'] }],
    'one series, sorted, the empty label is none');
like($t->api('query', query => 'unsorted', time => $now / 1000)->{raw},
    qr/\{"__name__":"unsorted","area":"a","zone":"z"\}/, 'sorted in JSON');

my $utf8 = "\x{6e29}\x{5ea6}.\x{e9}t\x{e9}";
is($t->write({ __name__ => $utf8, "label with spaces" => "line\nbreak\t\"q\"\\" },
    [$now, 21.5]), 204, 'UTF-8 names');
$res = $t->query("{\"$utf8\"}", time => $now / 1000)->{result};
is_deeply($res, [{ metric => { __name__ => $utf8,
    'label with spaces' => "line\nbreak\t\"q\"\\" },
    value => [$now / 1000, '21.5'] }], 'UTF-8 names come back');

for my $case (
    ['labels', { __name__ => 'm', a => 1, b => 2, c => 3 }, qr/limit is 3 \(nightlight_max_labels\) for series/],
    ['name', { __name__ => 'm', 'a' x 9 => 1 }, qr/limit is 8 \(nightlight_max_label_name\) for/],
    ['value', { __name__ => 'm', a => 'x' x 17 }, qr/limit is 16 \(nightlight_max_label_value\) for/],
)
{
    my ($what, $labels, $re) = @$case;
    my $good = name('g');
    refused($t->write_pb(series_pb({ __name__ => $good }, [$now, 1])
        . series_pb($labels, [$now, 1]), uri => '/limited/write'), 400, $re,
        "limit: $what");
    is(n_series("__name__=\"$good\""), 0, "limit: $what: nothing is kept");
}

# ---- samples: duplicates, conflicts, order ----

my $m = name();
my $sel = "__name__=\"$m\"";
is($t->write({ __name__ => $m }, [$now - 5000, 1]), 204, 'a sample');
is($t->write({ __name__ => $m }, [$now - 5000, 1]), 204, 'the same again');
refused($t->write_pb(series_pb({ __name__ => $m }, [$now - 5000, 2])), 400,
    qr/^duplicate sample for timestamp ${\($now - 5000)}; overrides not allowed: existing 1, new value 2/,
    'another value');
is_deeply(samples($sel), [[$now - 5000, '1']], 'the first one stays');

my $fresh = name('fresh');
refused($t->write_pb(series_pb({ __name__ => $fresh }, [$now, 7])
    . series_pb({ __name__ => $m }, [$now - 5000, 3], [$now, 4])
    . series_pb({ __name__ => "${fresh}_b" }, [$now, 7])), 400,
    qr/duplicate sample/, 'conflict in a large request');
is(n_series("__name__=~\"$fresh.*\""), 0, 'the whole request is rolled back');
is_deeply(samples($sel), [[$now - 5000, '1']],
    'also the good sample of the same series');

$m = name();
is($t->write({ __name__ => $m }, [$now, 1], [$now, 2]), 204,
    'two values at one time in one request: 204');
is_deeply(samples("__name__=\"$m\""), [[$now, '1']], 'the first one is kept');
$m = name();
is($t->write({ __name__ => $m }, [$now, 1], { __name__ => $m }, [$now, 2]),
    204, 'the same in two entries of one request');
is_deeply(samples("__name__=\"$m\""), [[$now, '1']], 'the first one is kept');

$m = name('late');
is($t->write({ __name__ => $m }, [$now, 10]), 204, 'newest first');
is($t->write({ __name__ => $m }, [$now - 1000, 9]), 204, 'a second late');
is($t->write({ __name__ => $m }, [$now - 3600_000, 8]), 204, 'an hour late');
is($t->write({ __name__ => $m }, [$now - 5 * 86400_000, 7]), 204,
    'five days late');
is($t->write({ __name__ => $m }, [$now + 1000, 11], [$now - 2000, 8.5],
    [$now + 2000, 12]), 204, 'a step back inside a request');
is_deeply(samples("__name__=\"$m\""), [
    [$now - 5 * 86400_000, '7'], [$now - 3600_000, '8'],
    [$now - 2000, '8.5'], [$now - 1000, '9'], [$now, '10'],
    [$now + 1000, '11'], [$now + 2000, '12']], 'all in order of time');
is($t->write({ __name__ => $m }, [$now - 1000, 9]), 204, 'late, again');
is($t->write({ __name__ => $m }, [$now - 1000, 99]), 204,
    'late with another value: accepted');
is($t->value("$m offset 1s", time => $now / 1000), '9', 'but the first stays');

# a long series in random order, against what was sent
{
    my $m = name('shuffled');
    my @sent = map { [$now - 600_000 + $_ * 1000, $_ * 1.25] } 0 .. 599;
    my @mixed = @sent;
    srand(42);
    for (my $i = @mixed; --$i; ) {
        my $j = int rand($i + 1);
        @mixed[$i, $j] = @mixed[$j, $i];
    }
    my $bad = 0;
    while (my @part = splice(@mixed, 0, 37)) {
        $bad++ if $t->write({ __name__ => $m }, @part) != 204;
    }
    is($bad, 0, 'samples in random order, seed 42');
    is_deeply(samples("__name__=\"$m\""),
        [map { [$_->[0], '' . $_->[1]] } @sent], 'are all there');
}

refused($t->write_pb(series_pb({ __name__ => 'ahead' },
    [$now + 11 * 60_000, 1])), 400,
    qr/^out of bounds: timestamp is too far in the future/, 'future');
is($t->write({ __name__ => 'ahead' }, [$now + 9 * 60_000, 1]), 204,
    'nine minutes ahead');
refused($t->write_pb(series_pb({ __name__ => 'ahead' }, [1, 1])), 400,
    qr/^too old sample/, 'older than the retention');
refused($t->write_pb(series_pb({ __name__ => 'ahead' }, [-1, 1])), 400,
    qr/^too old sample/, 'before 1970');
for my $t_ms (9223372036854775807, -9223372036854775808) {
    is($t->write({ __name__ => 'ahead' }, [$t_ms, 1]), 400, "time $t_ms");
}

# ---- values are bits ----

my @values = (
    ['-0', 0x8000000000000000, '-0'],
    ['+Inf', 0x7ff0000000000000, '+Inf'],
    ['-Inf', 0xfff0000000000000, '-Inf'],
    ['NaN of Prometheus', 0x7ff8000000000001, 'NaN'],
    ['NaN of C', 0x7ff8000000000000, 'NaN'],
    ['signalling NaN', 0x7ff0000000000001, 'NaN'],
    ['negative NaN with payload', 0xfff8dead0000beef, 'NaN'],
    ['smallest', 1, '5e-324'],
    ['largest', 0x7fefffffffffffff, '1.7976931348623157e+308'],
    ['0.1', 0x3fb999999999999a, '0.1'],
    ['1e21', 0x444b1ae4d6e2ef50, '1e+21'],
    ['2^53', 0x4340000000000000, '9007199254740992'],
);
for my $v (@values) {
    my ($what, $bits, $text) = @$v;
    my $m = name('v');
    is($t->write({ __name__ => $m }, [$now, bits($bits)]), 204, "$what: 204");
    is($t->value($m, time => $now / 1000), $text, "$what: $text");
    is($t->write({ __name__ => $m }, [$now, bits($bits)]), 204,
        "$what: again is a duplicate, bit for bit");
    is($t->write({ __name__ => $m }, [$now, bits($bits ^ 1)]), 400,
        "$what: one bit apart is a conflict");
}

{
    my $m = name('stale');
    is($t->write({ __name__ => $m }, [$now - 20_000, 5]), 204, 'alive');
    is($t->write({ __name__ => $m }, [$now - 10_000, bits(0x7ff0000000000002)]),
        204, 'stale marker');
    is($t->value($m, time => $now / 1000 - 11), '5', 'alive before it');
    is($t->value($m, time => $now / 1000), undef, 'gone after it');
    is($t->value("count_over_time($m\[1m])", time => $now / 1000), '1',
        'ranges leave it out');
    is($t->write({ __name__ => $m }, [$now - 10_000, bits(0x7ff8000000000001)]),
        400, 'another NaN at its time is a conflict');
    is($t->write({ __name__ => $m }, [$now - 5000, bits(0x7ff8000000000001)]),
        204, 'an ordinary NaN');
    is($t->value($m, time => $now / 1000), 'NaN', 'is no stale marker');
    is($t->value("count_over_time($m\[1m])", time => $now / 1000), '2',
        'and counts');
}

# ---- ways a body can come ----

# 3000 series, 500 KB of body or so, that cannot be one TCP segment
sub big {
    my ($m) = @_;
    return join '', map { series_pb({ __name__ => $m, i => $_,
        pad => 'x' x 100 }, [$now, $_]) } 1 .. 3000;
}

sub arrived {
    my ($m, $what) = @_;
    is($t->value("count($m)", time => $now / 1000), '3000', "$what: all series");
    is($t->value("sum($m)", time => $now / 1000), '4501500', "$what: all values");
}

for my $uri ('/api/v1/write', '/small/write', '/file/write') {
    my $m = name('body');
    is($t->write_pb(big($m), uri => $uri)->{status}, 204, "$uri: large body");
    arrived($m, $uri);

    $m = name('body');
    my $body = snappy(big($m));
    my $chunked = '';
    for (my ($off, $n) = (0, 1); $off < length $body; $off += $n, $n = $n * 3 % 9973) {
        my $part = substr($body, $off, $n);
        $chunked .= sprintf("%x\r\n%s\r\n", length $part, $part);
    }
    is($t->write_raw("${chunked}0\r\n\r\n", uri => $uri,
        headers => { 'Transfer-Encoding' => 'chunked' })->{status}, 204,
        "$uri: chunked");
    arrived($m, "$uri: chunked");

    $m = name('body');
    my $s = $t->connect();
    my $req = $t->write_bytes(snappy(big($m)), uri => $uri);
    my ($off, @sizes) = (0, 1, 5, 300, 1, 20_000, 1000, 100_000, 7);
    while ($off < length $req) {
        my $n = @sizes ? shift @sizes : length $req;
        $n = length($req) - $off if $n > length($req) - $off;
        Nightlight::Test::send_all($s, substr($req, $off, $n));
        $off += $n;
        select(undef, undef, undef, 0.005);   # so that they are segments
    }
    is(Nightlight::Test::read_response($s)->{status}, 204, "$uri: in pieces");
    arrived($m, "$uri: in pieces");

    is($t->write_pb(series_pb({ __name__ => 'tiny' }, [$now, 1]),
        uri => $uri)->{status}, 204, "$uri: small body");
    refused($t->write_raw('', uri => $uri), 400, 's2: corrupt input',
        "$uri: body of zero bytes");
    refused($t->write_raw("0\r\n\r\n", uri => $uri,
        headers => { 'Transfer-Encoding' => 'chunked' }), 400,
        's2: corrupt input', "$uri: chunked body of zero bytes");
}
# they go with the request, which may end a moment after its answer
ok($t->wait_for(sub { my @f = glob $t->dir . '/temp/body/*'; !@f },
    'temporary files gone'), 'no temporary file is left');

{
    my $s = $t->connect();
    my %seen;
    my $m = name('alive');
    for my $i (1 .. 300) {
        my $r = exchange($s, $t->write_bytes(snappy(series_pb(
            { __name__ => $m }, [$now - 300_000 + $i * 1000, $i]))));
        $seen{$r->{status}}++;
    }
    is_deeply(\%seen, { 204 => 300 }, '300 requests on one connection');
    is(exchange($s, $t->write_bytes("junk"))->{status}, 400,
        'a bad one among them');
    is(exchange($s, $t->write_bytes("junk",
        headers => { 'Content-Type' => 'text/html' }))->{status}, 415,
        'another');
    is(exchange($s, $t->write_bytes(snappy(series_pb({ __name__ => $m },
        [$now + 1000, 0]))))->{status}, 204, 'and on');
    is($t->value("count_over_time($m\[10m])", time => $now / 1000 + 1), '301',
        'all samples');
    my $three = join '', map { $t->write_bytes(snappy(series_pb(
        { __name__ => "${m}_p" }, [$now + $_ * 1000, $_]))) } 1 .. 3;
    $three =~ s/keep-alive(?!.*keep-alive)/close/s;
    $t->http_raw($s, $three);
    is($t->value("count_over_time(${m}_p[1m])", time => $now / 1000 + 5), '3',
        'three requests at once, pipelined');
}

# ---- HTTP/2 ----

SKIP: {
    my $curl = $t->program('curl');
    skip 'no curl', 1 unless $curl;
    skip 'curl without HTTP/2', 1 unless `$curl -V` =~ /\bHTTP2\b/;

    my $url = 'http://127.0.0.1:' . $t->port('h2');
    my @curl = ($curl, '-s', '-m', '20', '--http2-prior-knowledge', '-o',
        '/dev/null', '-w', '%{http_version} %{http_code}', '-H',
        'Content-Encoding: snappy', '-H');
    my @plain = (@curl, 'Content-Type: text/html');
    push @curl, 'Content-Type: application/x-protobuf';
    for my $uri ('/api/v1/write', '/small/write', '/file/write') {
        my $m = name('h2');
        $t->write_file('body', snappy(big($m)));
        my $file = $t->dir . '/body';
        is(output(@curl, '--data-binary', "\@$file", "$url$uri"), '2 204',
            "HTTP/2 $uri");
        arrived($m, "HTTP/2 $uri");

        $m = name('h2');
        $t->write_file('body', snappy(big($m)));
        is(output('/bin/sh', '-c', 'f=$1; shift; cat "$f" | "$@"', 'sh',
            $file, @curl, '-X', 'POST', '-T', '-', "$url$uri"),
            '2 204', "HTTP/2 $uri without a length");
        arrived($m, "HTTP/2 $uri without a length");
    }
    $t->write_file('body', "\xff" x 100_000);
    # what nginx answered: it resets the stream of a body that still comes,
    # and then curl may not show the answer
    output(@plain, '--data-binary', '@' . $t->dir . '/body',
        "$url/api/v1/write?html");
    $t->wait_for(sub { $t->read_file('access.log')
        =~ m{"POST /api/v1/write\?html HTTP/2.0" (\d+)} }, 'log line');
    like($t->read_file('access.log'),
        qr{"POST /api/v1/write\?html HTTP/2.0" 415 }, 'HTTP/2: refused '
        . 'before the body is read');
}

sub output {
    my (@cmd) = @_;
    open(my $p, '-|', @cmd) or return "cannot run $cmd[0]: $!";
    local $/;
    my $out = <$p>;
    close $p;
    return defined $out ? $out : '';
}

# ---- nginx's gzip packs the answers ----

SKIP: {
    skip 'no IO::Uncompress::Gunzip', 1
        unless eval { require IO::Uncompress::Gunzip; 1 };
    my $plain = $t->http('GET', '/api/v1/query?query=unsorted&time=' . $now / 1000);
    my $r = $t->http('GET', '/api/v1/query?query=unsorted&time=' . $now / 1000,
        headers => { 'Accept-Encoding' => 'gzip' });
    is($r->{headers}{'content-encoding'}, 'gzip', 'answer is packed');
    my $text;
    IO::Uncompress::Gunzip::gunzip(\$r->{body}, \$text);
    is($text, $plain->{body}, 'and the same');
}

$t->done();
