#!/usr/bin/perl
# Large answers need little memory: a worker's own memory is watched while
# several clients, fast and slow ones, read hundreds of megabytes; what is sent
# in parts is what would be sent as a whole; clients that leave free all of it.
#
#   NLT_STREAM_MB=2000          size of the large answers of query_range
#   NLT_STREAM_SERIES=1000000   series of which there are names
use strict;
use warnings;
use POSIX ();
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Read qw(request frames);

*form = \&Nightlight::Test::form;
*request_bytes = \&Nightlight::Test::request_bytes;
*series_pb = \&Nightlight::Test::series_pb;

my $MB = $ENV{NLT_STREAM_MB} || 500;
my $N = $ENV{NLT_STREAM_SERIES} || 100_000;
my $BOUND = 64 << 20;    # above what an idle worker has

my $t = Nightlight::Test->new();
my $memory = 200 + int($N / 700);
$t->write_conf(main => 'worker_processes 1;', store => "memory=${memory}m retention=10y",
    http => 'gzip on; gzip_types application/json text/plain; gzip_comp_level 1;',
    locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location = /federate     { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location /hour/          { nightlight_query main; nightlight_lookback 1h; }
EOL
$t->run();

# ---- data: few samples, many steps; many series ----

my $now = int(time()) * 1000;
my $STEPS = 11_000;
my $POINT = 36;         # bytes of JSON
my $n_big = int($MB * 1e6 / $STEPS / $POINT) + 1;
{
    my $pb = '';
    for my $i (0 .. $n_big - 1) {
        my %l = (__name__ => 'big', i => sprintf('%05d', $i), job => 'x' . $i % 3);
        $l{Upper} = $i if $i % 5 == 0;
        $pb .= series_pb(\%l, map { [$now + 30_000 * $_, 0.1234567890123 * ($i + 1)
            + $_ * 1e-3] } -6 .. 0);
    }
    is($t->write_pb($pb)->{status}, 204, "$n_big series for large answers");
    for (my $i = 0; $i < $N; $i += 10_000) {
        $pb = '';
        my $last = $i + 9_999 < $N ? $i + 9_999 : $N - 1;
        for my $j ($i .. $last) {
            $pb .= series_pb({ __name__ => 'many', id => sprintf('value-%07d', $j),
                instance => 'host-' . $j % 1000 . ':9100', job => 'node',
                path => '/some/path/' . $j % 77 }, [$now - 1000, $j]);
        }
        $t->write_pb($pb)->{status} == 204 or BAIL_OUT('cannot write');
    }
}

my %range = (start => $now / 1000, end => $now / 1000 + 0.027 * ($STEPS - 1),
    step => 0.027);

sub range_uri {
    my ($query, %more) = @_;
    return '/api/v1/query_range?' . form(query => $query, %range, %more);
}

# ---- in parts, or as a whole ----

# An answer of any size, decoded in one pass: {status, headers, body, whole}.
sub fetch {
    my ($uri, %headers) = @_;
    my $s = $t->connect();
    local $SIG{ALRM} = sub { die "timeout\n" };
    alarm(120);
    Nightlight::Test::send_all($s, request_bytes('GET', $uri, \%headers));
    my $data = '';
    1 while sysread($s, $data, 1 << 20, length $data);
    alarm(0);
    my $at = index($data, "\r\n\r\n") + 4;
    my $r = Nightlight::Test::parse_response(substr($data, 0, $at));
    if (($r->{headers}{'transfer-encoding'} || '') ne 'chunked') {
        return { %$r, body => substr($data, $at), whole => 1 };
    }
    my $body = '';
    while ((my $end = index($data, "\r\n", $at)) > 0) {
        my $n = hex substr($data, $at, $end - $at);
        return { %$r, body => $body, whole => 1 } if !$n;
        $body .= substr($data, $end + 2, $n);
        $at = $end + 4 + $n;
    }
    return { %$r, body => $body, whole => 0 };
}

# `stats` has it made as a whole.
for my $query ('SEL', 'last_over_time(SEL[1m])', 'rate(SEL[2m])', '-SEL',
    'abs(SEL) * 2 > 3', '1 / SEL', 'SEL > 3', '(SEL) == bool 1',
    'quantile_over_time(0.3, SEL[3m])', 'SEL offset 10s', 'SEL @ end()',
    'clamp_max(delta(SEL[1m]) ^ 2, 3)', '{i=~"000[0-5]."}')
{
    (my $q = $query) =~ s/SEL/big{i=~"000[0-5]."}/;
    my ($parts, $whole) = map { fetch(range_uri($q, @$_)) } [], [stats => 'all'];
    is("$parts->{status} $parts->{whole}", '200 1', "$q");
    isnt($parts->{headers}{'transfer-encoding'}, undef, "$q: chunked");
    $whole->{body} =~ s/,"stats":\{.*?\}\}\}(?=[,}])/}/;
    ok($parts->{body} eq $whole->{body}, "$q: the same, " . length $whole->{body})
        or diag(substr($parts->{body}, -300) . "\n not: " . substr($whole->{body}, -300));
}

# ---- memory of the worker ----

$t->wait_for(sub { $t->workers() == 1 }, 'a worker', 10);
my ($worker) = $t->workers();

# Anonymous memory, in proportion to who shares it.
sub anonymous {
    open(my $f, '<', "/proc/$worker/smaps_rollup") or die "smaps_rollup: $!";
    my %kb = map { /^(\w+):\s+(\d+) kB/ ? ($1 => $2) : () } <$f>;
    return 1024 * (defined $kb{Pss_Anon} ? $kb{Pss_Anon} : $kb{Anonymous});
}

# Runs readers, each a process: [bytes of the request, bytes a second or 0,
# bytes after which it leaves or 0].  Returns the most memory there was, and
# what each reader says at the end: "bytes start end".
sub readers {
    my (@readers) = @_;
    my ($max, %left) = (0);
    for my $i (0 .. $#readers) {
        my ($bytes, $rate, $leave) = @{$readers[$i]};
        my $pid = fork();
        die "fork: $!" unless defined $pid;
        if ($pid) {
            $left{$pid} = $i;
            next;
        }
        $SIG{ALRM} = 'DEFAULT';
        alarm(300);
        my $s = $t->connect();
        setsockopt($s, SOL_SOCKET, SO_RCVBUF, 65536) if $rate;
        Nightlight::Test::send_all($s, $bytes);
        my ($n, $begin, $end) = (0, '', '');
        my $from = time();
        while (my $k = sysread($s, my $data, 1 << 18)) {
            $begin .= $data if $n < 1000;
            $n += $k;
            $end = substr($end . $data, -200);
            last if $leave && $n >= $leave;
            next if !$rate;
            my $ahead = $n / $rate - (time() - $from);
            select(undef, undef, undef, $ahead) if $ahead > 0;
        }
        my ($status) = $begin =~ m{^HTTP/1.1 (\d+)};
        my $whole = $end =~ /\r\n0\r\n\r\n\z/ ? 'whole' : 'cut';
        open(my $f, '>', $t->dir . "/reader.$i") or POSIX::_exit(1);
        print $f join ' ', $n, $status || 0, $whole,
            substr($end =~ s/\r\n0\r\n\r\n\z//r =~ s/\r\n[0-9a-f]+\r\n//gr, -20);
        close($f);
        POSIX::_exit(0);
    }
    my $watch = sub {
        my $m = anonymous();
        $max = $m if $m > $max;
        while ((my $pid = waitpid(-1, POSIX::WNOHANG)) > 0) {
            delete $left{$pid};
        }
        return !%left;
    };
    $t->wait_for($watch, 'readers', 300 * $Nightlight::Test::SLOW) or kill 'KILL', keys %left;
    return ($max, map { [split / /, $t->read_file("reader.$_"), 4] } 0 .. $#readers);
}

sub mb { return sprintf '%.1f MB', $_[0] / (1 << 20) }

# Watches some readers: they get at least so many bytes, all of them, and the
# worker stays within the bound; afterwards it is as it was.
sub watch {
    my ($what, $min, $end, @readers) = @_;
    my $idle = anonymous();
    my $from = time();
    my ($max, @said) = readers(@readers);
    for my $i (0 .. $#readers) {
        my ($n, $status, $whole, $tail) = @{$said[$i]};
        is($status, 200, "$what $i: status");
        if ($readers[$i][2]) {
            is($whole, 'cut', "$what $i: has left");
            next;
        }
        cmp_ok($n, '>=', $min, "$what $i: " . mb($n));
        is($whole, 'whole', "$what $i: to the end");
        like($tail, $end, "$what $i: its end");
    }
    cmp_ok($max - $idle, '<', $BOUND, sprintf '%s: %s above %s, %.1f s', $what,
        mb($max - $idle), mb($idle), time() - $from);
    ok($t->wait_for(sub { anonymous() < $idle + (24 << 20) }, 'freed', 30),
        "$what: all of it is given back") or diag(mb(anonymous()));
}

my $get = sub { request_bytes('GET', $_[0], $_[1] || {}) };

watch('large range', $MB * 1e6, qr/\]\]\}\]\}\}$/, [$get->(range_uri('big'))],
    [$get->(range_uri('big * 1.5'))],
    [$get->(range_uri('big')), 2e6, 20e6], [$get->(range_uri('big')), 2e5, 1e6]);

watch('series', 100 * $N, qr/\}\]\}$/, ([$get->('/api/v1/series?' .
    form('match[]' => 'many'))]) x 2, [$get->('/api/v1/series?'
    . form('match[]' => 'many')), 1e6, 2e6]);

watch('label values', 15 * $N, qr/"\]\}$/,
    ([$get->('/api/v1/label/id/values')]) x 2,
    [$get->('/api/v1/label/id/values?' . form('match[]' => 'many')), 1e6, 5e5]);

watch('federate', 100 * $N, qr/\d+\n$/, ([$get->('/federate?'
    . form('match[]' => 'many'))]) x 2, [$get->('/federate?'
    . form('match[]' => 'many')), 1e6, 2e6]);

my $read = request_bytes('POST', '/api/v1/read', {}, Nightlight::Test::snappy(
    request([[0, $now, ['=', '__name__', 'many']]], types => [1])));
watch('remote_read', 100 * $N, qr//, ([$read]) x 2, [$read, 1e6, 2e6]);

# ---- compressed by nginx ----

SKIP: {
    eval { require IO::Uncompress::Gunzip; 1 } or skip('no gunzip', 6);
    for my $uri (range_uri('big{i=~"000.."}'), '/api/v1/series?'
        . form('match[]' => 'many{id=~".*7"}'), '/federate?'
        . form('match[]' => 'many{id=~".*7"}'))
    {
        my $plain = fetch($uri);
        my $packed = fetch($uri, 'Accept-Encoding' => 'gzip');
        is($packed->{headers}{'content-encoding'}, 'gzip', substr($uri, 0, 30)
            . ': ' . length($plain->{body}) . ' to ' . length $packed->{body});
        IO::Uncompress::Gunzip::gunzip(\$packed->{body} => \my $text);
        ok($text eq $plain->{body}, 'the same');
    }
}

$t->done();
