#!/usr/bin/perl
# remote_read: both kinds of answers, ranges, hints, limits, mistakes; what is
# deleted, what lies in blocks and head; clients that are slow or leave.
use strict;
use warnings;
no warnings 'portable';
use Test::More;
use Socket qw(SOL_SOCKET SO_RCVBUF SO_LINGER);
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Read qw(request samples chunks frames text);

*snappy = \&Nightlight::Test::snappy;

my $t = Nightlight::Test->new(formats => 1);
$t->write_conf(main => 'worker_processes 1;',
    server => 'listen 127.0.0.1:%%PORT_tiny%% sndbuf=64k;', locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location /few/  { nightlight_query main; nightlight_query_max_samples 5; }
        location /two/  { nightlight_query main; nightlight_query_max_series 2; }
        location /small/ { nightlight_query main; nightlight_query_memory 300k; }
EOL
$t->run();

my $now = int(time()) * 1000;
my $ALL = [0, $now + 3600_000];

sub post {
    my ($pb, %p) = @_;
    return $t->http('POST', ($p{uri} || '/api/v1') . '/read',
        body => $p{raw} ? $pb : snappy($pb), headers => {
        'Content-Type' => 'application/x-protobuf',
        'Content-Encoding' => 'snappy',
        'X-Prometheus-Remote-Read-Version' => '0.1.0' });
}

# Both kinds of answers; the sampled one, after it was seen to be the same.
sub read_both {
    my ($queries, $what) = @_;
    my $r = post(request($queries));
    is($r->{status}, 200, "$what: samples") or diag($r->{body});
    my $want = samples($r->{body});
    is(scalar @$want, scalar @$queries, "$what: a result each");
    my $s = post(request($queries, types => [1, 0]));
    is($s->{status}, 200, "$what: streamed") or diag($s->{body});
    my $got = chunks($s->{body}, scalar @$queries);
    is(join("--\n", map { text($_) } @$got),
        join("--\n", map { text($_) } @$want), "$what: the same");
    return wantarray ? ($want, $r, $s) : $want;
}

sub names { my ($r) = @_; return join ' ', map {
    my %l = map { @$_ } @{$_->{labels}}; ($l{__name__} || '') . ($l{i} || '') } @$r }
sub bits { return unpack 'Q<', pack 'd<', $_[0] }
sub m_ { return ['=', '__name__', $_[0]] }

# ---- data: three metrics, out of order, odd values ----

my $NAN = "\x02\0\0\0\0\0\xf0\x7f";
is($t->write({ __name__ => 'a', i => 2, Z => 'x' }, [$now - 5000, 1],
        [$now - 4000, 0], [$now - 3000, -0.5]), 204, 'written');
is($t->write({ __name__ => 'a', i => 1 }, [$now - 5000, \$NAN], [$now - 1000, 7]),
    204, 'written');
is($t->write({ __name__ => 'b', i => 1, "caf\x{e9}" => "\x{2603}\"\\\n" },
        map { [$now - 3600_000 + 1000 * $_, $_ / 7] } 0 .. 1000), 204, 'written');
is($t->write({ __name__ => 'a', i => 2, Z => 'x' }, [$now - 9000, 3]), 204,
    'out of order');

my ($all, $r, $s) = read_both([[@$ALL, m_('a')]], 'a metric');
is($r->{headers}{'content-type'}, 'application/x-protobuf', 'type');
is($r->{headers}{'content-encoding'}, 'snappy', 'encoding');
is($s->{headers}{'content-type'}, 'application/x-streamed-protobuf; '
    . 'proto=prometheus.ChunkedReadResponse', 'type of a stream');
is($s->{headers}{'content-encoding'}, undef, 'encoding of a stream');
is(names($all->[0]), 'a2 a1', 'sorted by labels: Z before __name__');
is(text([$all->[0][0]]), sprintf("{Z=\"x\",__name__=\"a\",i=\"2\"} %d:%016x "
    . "%d:%016x %d:%016x %d:%016x\n", map { ($now - $_->[0], bits($_->[1])) }
    [9000, 3], [5000, 1], [4000, 0], [3000, -0.5]), 'all samples, in order');
is($all->[0][1]{samples}[0][1], 0x7ff0000000000002, 'a stale marker is sent');

my $two = read_both([[$now - 4000, $now - 3000, m_('a')], [@$ALL, m_('none')],
    [$now - 3600_000, $now - 3599_000, m_('b')]], 'three queries');
is(names($two->[0]), 'a2', 'only what has samples in the range');
is(scalar @{$two->[0][0]{samples}}, 2, 'both ends belong to it');
is(scalar @{$two->[1]}, 0, 'nothing of it');
is(scalar @{$two->[2][0]{samples}}, 2, 'the third');
is(join(' ', map { @$_ } @{$two->[2][0]{labels}}),
    "__name__ b caf\xc3\xa9 \xe2\x98\x83\"\\\n i 1", 'bytes of labels')
    or diag(text($two->[2]));

# ---- matchers ----

for my $c (
    ['=', 'i', '1', 'a1 b1'], ['!=', 'i', '1', 'a2'],
    ['=~', '__name__', 'a|b', 'a2 a1 b1'], ['!~', '__name__', 'a.*', 'b1'],
    ['=', 'Z', '', 'a1 b1'], ['!=', 'Z', '', 'a2'], ['=~', 'Z', '|y', 'a1 b1'],
    ['!~', 'Z', '.+', 'a1 b1'], ['=~', "caf\x{e9}", "\x{2603}.*", 'b1'],
) {
    my ($op, $name, $value, $want) = @$c;
    my $got = read_both([[@$ALL, ['=~', '__name__', 'a|b'], [$op, $name, $value]]],
        "matcher $op");
    is(names($got->[0]), $want, "matcher $op");
}
is(names(read_both([[@$ALL]], 'no matcher')->[0]), '', 'none, as in Prometheus');
is(post(request([[@$ALL, ['=~', 'i', '(a+)+$'], ['=', 'x', 'y']]]))->{status}, 200,
    'a regular expression nobody has to try');

# ---- hints ----

my @hint = (step => 1000, grouping => ['i', 'x'], by => 1, range => 60000);
is(text(read_both([[@$ALL, m_('a'), { @hint, func => 'rate' }]], 'hints')->[0]),
    text($all->[0]), 'hints without a range change nothing');
is(names(read_both([[@$ALL, m_('a'), { start => $now - 4000, end => $now - 3000 }]],
    'range of the hints')->[0]), 'a2', 'their range is the range');
is(names(read_both([[$now - 4000, $now - 3000, m_('a'), { start => 1,
    end => $now }]], 'wider hints')->[0]), 'a2', 'which never grows');
my $only = read_both([[@$ALL, m_('a'), { func => 'series' }]], 'series');
is(names($only->[0]), 'a2 a1', 'series: the label sets');
is(scalar @{$only->[0][0]{samples}}, 0, 'and no samples');

# ---- types of answers ----

for my $c ([[], 0], [[0], 0], [[1], 1], [[0, 1], 0], [[1, 0], 1], [[7, 1], 1]) {
    for my $unpacked (0, 1) {
        my $r = post(request([[@$ALL, m_('a')]], types => $c->[0],
            unpacked => $unpacked));
        like($r->{headers}{'content-type'}, $c->[1] ? qr/streamed/
            : qr/^application\/x-protobuf$/, "types @{$c->[0]} $unpacked");
    }
}
$r = post(request([[@$ALL, m_('a')]], types => [5, 7]));
is("$r->{status} $r->{body}", "400 server does not support any of the requested "
    . "response types: [5 7]; supported: map[SAMPLES:{} STREAMED_XOR_CHUNKS:{}]\n",
    'other types');

# ---- nothing at all ----

for my $types ([], [1]) {
    my $r = post(request([], types => $types));
    is($r->{status}, 200, 'no queries');
    is(length($r->{body}), @$types ? 0 : 1, 'an empty message');
}

# ---- mistakes ----

for my $c (
    ['', 'an empty body', 400, "snappy: corrupt input\n", 1],
    ['hello world', 'garbage', 400, "snappy: corrupt input\n", 1],
    ["\xff\xff\xff\x7f\0", 'a length that lies', 400, qr/^snappy: /, 1],
    ["\x0a\x05\x08", 'a message cut off', 400, "unexpected EOF\n"],
    ["\x08\x01", 'a wrong type', 400,
        "proto: wrong wireType = 0 for field Queries\n"],
    ["\x0a\x02\x1a\x00\x0b", 'a group', 400, "proto: illegal wireType 3\n"],
    [request([[1, 2, [9, 'a', 'b']]]), 'a matcher of no type', 500,
        "invalid matcher type\n"],
    [request([[1, 2, ['=~', 'a', '(']]]), 'a bad regular expression', 500,
        "error parsing regexp: missing closing ): `(`\n"],
    [request([[1, 2, ['=~', 'a', '(']]], types => [1]), 'the same, streamed', 500,
        "error parsing regexp: missing closing ): `(`\n"],
) {
    my ($pb, $what, $status, $text, $raw) = @$c;
    my $r = post($pb, raw => $raw);
    is($r->{status}, $status, $what);
    ref $text ? like($r->{body}, $text, "$what: text")
        : is($r->{body}, $text, "$what: text");
    is($r->{headers}{'content-type'}, 'text/plain; charset=utf-8', "$what: type");
}
$r = $t->http('GET', '/api/v1/read');
is("$r->{status} $r->{headers}{allow}", '405 OPTIONS, POST', 'GET');

# ---- limits are named ----

is(post(request([[@$ALL, m_('a')]]), uri => '/few')->{body},
    "exceeded sample limit (5) (nightlight_query_max_samples)\n", 'samples');
is(post(request([[@$ALL, m_('a')]]), uri => '/few')->{status}, 400, 'as Prometheus');
is(post(request([[@$ALL, m_('a')]], types => [1]), uri => '/few')->{status}, 200,
    'but not of a stream');
for my $types ([0], [1]) {
    my $r = post(request([[@$ALL, ['!=', '__name__', '']]], types => $types), uri => '/two');
    is("$r->{status} $r->{body}", "422 query selects too many series "
        . "(nightlight_query_max_series is 2)\n", "series, @$types");
}

# ---- a series of many frames, in blocks, then head; some of it deleted ----

my $n = 300_000;
my $from = $now - 86400_000 - $n * 100;
for (my $i = 0; $i < $n; $i += 50_000) {
    my $pb = Nightlight::Test::series_pb({ __name__ => 'long' },
        map { [$from + $_ * 100, rand] } $i .. $i + 49_999);
    is($t->write_pb($pb)->{status}, 204, "part $i");
}
my $LONG = [0, $now, m_('long')];
my $small = post(request([$LONG]), uri => '/small');
is("$small->{status} $small->{body}", "422 query needs more memory than "
    . "nightlight_query_memory allows (307200 bytes)\n", 'memory');

sub streamed { return post(request([@_], types => [1])) }

my $head = streamed($LONG);
my @frames = frames($head->{body});
cmp_ok(scalar @frames, '>=', 2, scalar(@frames) . ' frames');
cmp_ok((sort { $b <=> $a } map { length } @frames)[0], '<', 1.1 * 2 ** 20,
    'none much longer than 1 MiB');
my $got = chunks($head->{body}, 1, check => 0);
is(scalar @{$got->[0]}, 1, 'one series');
is(scalar @{$got->[0][0]{samples}}, $n, 'all of its samples');
is_deeply(samples(post(request([$LONG]))->{body}), $got, 'the same as samples');

is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
ok($t->wait_for(sub { glob($t->dir . '/store/blocks/*/index') }, 'blocks', 60),
    'there are blocks');
is($t->write({ __name__ => 'long' }, [$now - 1000, 1]), 204, 'more in the head');
my $both = chunks(streamed($LONG)->{body}, 1, check => 0);
is(scalar @{$both->[0][0]{samples}}, $n + 1, 'of blocks and head');

my ($d0, $d1) = map { $from + 100 * $_ } 1000, 1999;
is($t->http('POST', '/api/v1/admin/tsdb/delete_series?' . Nightlight::Test::form(
    'match[]' => 'long', start => $d0 / 1000, end => $d1 / 1000))->{status}, 204,
    'delete some');
my $left = chunks(streamed($LONG)->{body}, 1, check => 0)->[0][0]{samples};
is(scalar @$left, $n + 1 - 1000, 'those are gone');
is(scalar(grep { $_->[0] >= $d0 && $_->[0] <= $d1 } @$left), 0, 'all of them');
# ---- clients that are slow ----

# Asks for a stream and reads a little of it.
sub begin_slow {
    my ($pb) = @_;
    my $s = $t->connect('tiny');
    setsockopt($s, SOL_SOCKET, SO_RCVBUF, 32768);
    Nightlight::Test::send_all($s, Nightlight::Test::request_bytes('POST',
        '/api/v1/read', {}, snappy($pb)));
    my $data = '';
    while (length $data < 4000) { sysread($s, $data, 1000, length $data) or last }
    return ($s, $data);
}

sub read_rest {
    my ($s, $data) = @_;
    local $SIG{ALRM} = sub { die "timeout\n" };
    alarm(60);
    1 while sysread($s, $data, 65536, length $data);
    alarm(0);
    like($data, qr/\r\n0\r\n\r\n\z/, 'it has an end');
    return Nightlight::Test::parse_response($data)->{body};
}

# The client sleeps until the store is let go: what is deleted then, behind
# what is on its way, is not in the rest of the same series.
my ($sock, $part) = begin_slow(request([$LONG], types => [1]));
ok($t->wait_for(sub { $t->log_lines(qr/lets go of the store/) }, 'let go', 30),
    'a client that sleeps holds nothing');
($d0, $d1) = map { $from + 100 * $_ } $n - 1000, $n - 1;
is($t->http('POST', '/api/v1/admin/tsdb/delete_series?' . Nightlight::Test::form(
    'match[]' => 'long', start => $d0 / 1000, end => $d1 / 1000))->{status}, 204,
    'delete the end');
my $rest = chunks(read_rest($sock, $part), 1, check => 0);
is(scalar @{$rest->[0]}, 1, 'one series');
my @seen = @{$rest->[0][0]{samples}};
is(scalar @seen, $n + 1 - 2000, 'the rest is that of a new look');
is(scalar(grep { $seen[$_][0] <= $seen[$_ - 1][0] } 1 .. $#seen), 0,
    'nothing twice, all in order');

# The same, and the series is gone.
($sock, $part) = begin_slow(request([$LONG, [@$ALL, m_('b')]], types => [1]));
ok($t->wait_for(sub { $t->log_lines(qr/lets go of the store/) > 1 }, 'let go', 30),
    'let go once more');
is($t->http('POST', '/api/v1/admin/tsdb/delete_series?' . Nightlight::Test::form(
    'match[]' => 'long'))->{status}, 204, 'delete it all');
$rest = chunks(read_rest($sock, $part), 2, check => 0);
cmp_ok(scalar @{$rest->[0][0]{samples}}, '<', $n - 2000, 'it has ended');
is(names($rest->[1]), 'b1', 'and the next query was answered');

is($t->http('POST', '/api/v1/admin/tsdb/delete_series?' . Nightlight::Test::form(
    'match[]' => 'a'))->{status}, 204, 'delete a metric');
is(names(read_both([[@$ALL, ['=~', '__name__', 'a|b']]], 'after it')->[0]), 'b1',
    'it is gone');

$t->done();
