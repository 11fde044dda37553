#!/usr/bin/perl
# Hostile senders get a clear answer; nobody else notices, and the head
# stays inside memory=.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time sleep);
use Nightlight::Test;

*field = \&Nightlight::Test::field;
*varint = \&Nightlight::Test::varint;
*series_pb = \&Nightlight::Test::series_pb;
*sample_pb = \&Nightlight::Test::sample_pb;
*snappy = \&Nightlight::Test::snappy;

my $MEMORY = 32 << 20;

my $t = Nightlight::Test->new();
$t->write_conf(store => 'memory=32m retention=10y wal_sync=1s');
$t->run();

my $now = int(CORE::time()) * 1000;
my %workers = map { $_ => 1 } $t->workers();
is(scalar keys %workers, 2, 'two workers');

# ---- a quiet client beside all this: a write and a query, for ever ----

my $quiet = quiet_client();

sub quiet_client {
    pipe(my $r, my $w) or die "pipe: $!";
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if ($pid) {
        close $w;
        return { pid => $pid, out => $r };
    }
    close $r;
    my ($n, $worst, $later, $stop, %bad) = (0, 0, 0, 0);
    local $SIG{USR1} = sub { $stop = 1 };
    for (; !$stop; $n++) {
        my $from = time();
        my $ms = int($from * 1000);
        my $r = eval { $t->write_pb(series_pb({ __name__ => 'quiet' }, [$ms, $n])) };
        my $status = $r ? $r->{status} : 0;
        # A series that is in none of the last two arenas is a new one, for
        # which a flood leaves no room: it has to come again.
        if ($status == 503 && $r->{body} =~ /no room for new series/) {
            $later++;
        } elsif ($status != 204) {
            $bad{"write $status $@"}++;
        }
        my $v = eval { $t->value('quiet', time => $ms / 1000) };
        $bad{'query ' . (defined $v ? "gave $v for $n" : "failed $@")}++
            if $status == 204 && (!defined $v || $v ne $n);
        my $took = time() - $from;
        $worst = $took if $took > $worst;
        sleep 0.01;
    }
    printf {$w} "%d %.3f %d %s\n", $n, $worst, $later,
        join('; ', map { "$_ x$bad{$_}" } sort keys %bad);
    close $w;
    POSIX::_exit(0);
}

# Anonymous memory of all workers: buffers, not the shared head.
sub rss_anon {
    my $kb = 0;
    for my $pid ($t->workers()) {
        $kb += $1 if $t->read_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
    }
    return $kb << 10;
}

# Bytes that the head's files really take.
sub head_blocks {
    my $n = 0;
    for (glob $t->dir . '/head/*') {
        my @st = stat or next;
        $n += 512 * $st[12];
    }
    return $n;
}

my ($head_max, $gauge_max) = (0, 0);

sub watch {
    my $blocks = head_blocks();
    $head_max = $blocks if $blocks > $head_max;
    my $gauge = $t->metric('nightlight_head_bytes') || 0;
    $gauge_max = $gauge if $gauge > $gauge_max;
}

sub calm {
    my ($what) = @_;
    watch();
    my %now = map { $_ => 1 } $t->workers();
    is_deeply(\%now, \%workers, "$what: no worker has died");
}

my %anon = (before => rss_anon());

# ---- sizes and lengths that lie ----

sub status { return $t->write_raw($_[0])->{status} }

for my $case (
    ['1 MB label value', series_pb({ __name__ => 'm', big => 'x' x (1 << 20) },
        [$now, 1])],
    ['1 MB label name', series_pb({ __name__ => 'm', 'n' x (1 << 20) => 1 },
        [$now, 1])],
    ['10,000 labels', series_pb([['__name__', 'm'],
        map { ["label_$_", $_] } 1 .. 10_000], [$now, 1])],
    ['64 labels of 4 KiB', series_pb({ __name__ => 'm',
        map { ("l$_" => 'x' x 4000) } 1 .. 60 }, [$now, 1])],
)
{
    my ($what, $pb) = @$case;
    my $r = $t->write_pb($pb);
    is($r->{status}, 400, "$what: refused");
    like($r->{body}, qr/limit is \d+|more than \d+ bytes/,
        "$what: says the limit");
    cmp_ok(length $r->{body}, '<', 2000, "$what: in few words");
}

my $labels = Nightlight::Test::labels_pb({ __name__ => 'lie' });
my $sample = sample_pb([$now, 1]);
my %lies = (
    'series longer than the request' => "\x0a\x7f$labels$sample",
    'series of 2^63 bytes' => "\x0a" . "\xff" x 8 . "\x7f$labels",
    'series of 2^64 - 1 bytes' => "\x0a" . "\xff" x 9 . "\x01$labels",
    'length of eleven bytes' => "\x0a" . "\xff" x 10 . "\x01$labels",
    'length that does not end' => "\x0a" . "\xff" x 9,
    'label longer than its series' => field(1, "\x0a\x7f\x0a\x01a"),
    'name longer than its label' => field(1, field(1, "\x0a\x7fa") . $sample),
    'sample longer than its series' => field(1, "$labels\x12\x7f\x09"),
    'value cut short' => field(1, $labels . field(2, "\x09\0\0\0\0")),
    'time cut short' => field(1, $labels . field(2, "\x10\xff\xff")),
    'a group' => field(1, $labels . "\x0b\x0c" . $sample),
    'field number zero' => field(1, "$labels\x02\x00"),
    'field number 2^29' => varint((1 << 29) << 3 | 2) . "\0",
    'sample of the wrong type' => field(1, "$labels\x10\x01"),
);
for my $what (sort keys %lies) {
    my $r = $t->write_pb($lies{$what});
    is($r->{status}, 400, "$what: 400");
    unlike($r->{body}, qr/[^\x20-\x7e\n]/, "$what: readable text");
}
is(scalar @{$t->query('lie')->{result}}, 0, 'nothing of it was kept');

my $good = series_pb({ __name__ => 'm' }, [$now, 1]);
my %packed = (
    'declares one byte less' => varint(length($good) - 1)
        . chr(length($good) - 1 << 2) . $good,
    'declares one byte more' => varint(length($good) + 1)
        . chr(length($good) - 1 << 2) . $good,
    'declares 4 GiB' => "\xff\xff\xff\xff\x0f" . $good,
    'declares 2^64' => "\xff" x 9 . "\x01$good",
    'only a length' => "\x80\x01",
    'copy from before the start' => "\x08\x05\xff\x00",
    'copy of offset zero' => "\x08\x00a\x01\x00",
    'literal longer than the body' => "\x40\xf0\xff",
    'literal of 4 GiB' => "\x40\xfc\xff\xff\xff\xff",
);
for my $what (sort keys %packed) {
    is(status($packed{$what}), 400, "snappy $what: 400");
}

# 30 MB of zeros, and 15 million empty series, in 1.4 MB of snappy: one
# literal of two bytes, then copies of 64 with offset 2
for my $bomb (["\0\0", 400, 'zeros'], ["\x0a\0", 204, 'empty series'],
    ["\x1a\0", 204, 'empty metadata'])
{
    my ($unit, $status, $what) = @$bomb;
    my $n = 480_000;
    my $body = varint(2 + 64 * $n) . "\x04$unit" . "\xfe\x02\x00" x $n;
    my $from = time();
    is(status($body), $status, "snappy bomb of $what: $status");
    cmp_ok(time() - $from, '<', 10, "snappy bomb of $what: in seconds");
}
{
    # one series of 15 million samples without time or value
    my $n = 480_000;
    my $inner = length($labels) + 2 + 64 * $n;
    my $pb_head = "\x0a" . varint($inner) . $labels . "\x12\x00";
    my $body = varint(length($pb_head) + 64 * $n)
        . chr(length($pb_head) - 1 << 2) . $pb_head . "\xfe\x02\x00" x $n;
    is(status($body), 400, 'snappy bomb of empty samples: too old');
}
calm('bombs and lies');

# ---- half a body ----

for my $how ('length', 'chunked', 'length, reset') {
    for my $i (1 .. 20) {
        my $s = $t->connect();
        my $body = snappy($good x 5000);
        my $req = $t->write_bytes($body,
            $how eq 'chunked' ? (headers => { 'Transfer-Encoding' => 'chunked' })
            : ());
        $req =~ s/\r\n\r\n/sprintf("\r\n\r\n%x\r\n", length $body)/e
            if $how eq 'chunked';
        Nightlight::Test::send_all($s, substr($req, 0, length($req) / 2 + $i));
        setsockopt($s, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
            pack('ii', 1, 0)) if $how =~ /reset/;
        close $s;
    }
}
# connections that say nothing more, while others are served
my @silent = map {
    my $s = $t->connect();
    Nightlight::Test::send_all($s, substr($t->write_bytes(snappy($good)), 0, -5));
    $s;
} 1 .. 50;
is($t->write({ __name__ => 'm' }, [$now, 1]), 204, 'served beside 50 silent ones');
close $_ for @silent;
calm('half bodies');

# ---- orders of one label set ----

{
    my @names = ('__name__', map { "label_$_" } 'a' .. 'j');
    my @parts = map { my $n = $_; field(1, field(1, $n) . field(2,
        $n eq '__name__' ? 'permuted' : "value of $n")) } @names;
    my $series = $t->metric('nightlight_series_created_total');
    my $aliases = $t->metric('nightlight_series_aliases_total');
    srand(7);
    my ($sent, %seen) = (0);
    for my $request (1 .. 12) {
        my $pb = '';
        for (1 .. 2500) {
            for (my $i = @parts; --$i; ) {
                my $j = int rand($i + 1);
                @parts[$i, $j] = @parts[$j, $i];
            }
            $pb .= field(1, join('', @parts) . sample_pb([$now + $sent++, 1]));
        }
        $seen{$t->write_pb($pb)->{status}}++;
    }
    is_deeply(\%seen, { 204 => 12 }, '30,000 orders of eleven labels, seed 7');
    is(scalar @{$t->query('permuted', time => $now / 1000 + 60)->{result}}, 1,
        'are one series');
    is($t->value('count_over_time(permuted[2m])', time => $now / 1000 + 60),
        30_000, 'with all samples');
    cmp_ok($t->metric('nightlight_series_created_total') - $series, '<=', 3,
        'made once');
    cmp_ok($t->metric('nightlight_series_aliases_total') - $aliases, '<=', 12,
        'with few aliases');
}
calm('permutations');

# ---- a million label sets ----

{
    my ($per, $requests) = (20_000, 50);
    my (%seen, %reason, $retry);
    my ($pre, $post);
    {
        my $one = series_pb({ __name__ => 'flood', id => '00000000',
            job => 'attack' }, [$now, 1]);
        my $at = index($one, '00000000');
        ($pre, $post) = (substr($one, 0, $at), substr($one, $at + 8));
    }
    my $id = 0;
    for my $request (1 .. $requests) {
        my $pb = join '', map { $pre . sprintf('%08d', $id++) . $post } 1 .. $per;
        my $r = $t->write_pb($pb);
        $seen{$r->{status}}++;
        $reason{$r->{body}}++;
        $retry++ if $r->{status} == 503
            && ($r->{headers}{'retry-after'} || '') =~ /^[1-9]\d*$/;
        watch();
    }
    is($id, 1_000_000, 'a million label sets');
    is(join(' ', grep { !/^(?:204|503)$/ } keys %seen), '',
        'taken, or refused with 503') or diag(explain(\%seen, \%reason));
    is($retry || 0, $seen{503} || 0, 'and Retry-After');
    cmp_ok($seen{204} || 0, '>', 0, 'some were taken');
    note(explain(\%seen, \%reason));
}
calm('a million label sets');
cmp_ok($head_max, '>', 1 << 20, 'the head was seen growing');
# some file systems count their own index of a file's pieces
cmp_ok($head_max, '<=', $MEMORY + (64 << 10), "the head's files stay inside memory=");
cmp_ok($gauge_max, '<=', $MEMORY, 'nightlight_head_bytes too');
cmp_ok(rss_anon() - $anon{before}, '<', 160 << 20,
    'the workers hold no mountain of buffers') or diag(rss_anon());

# afterwards the store takes new series again
$t->wait_for(sub { $t->write({ __name__ => 'after' }, [$now, 1]) == 204 },
    'new series are taken again', 15);
is($t->value('after', time => $now / 1000), '1', 'new series are taken again');
is($t->value('count(flood{id="00000001"})', time => $now / 1000), '1',
    'what was acknowledged first is there');

# ---- what the quiet client has seen ----

kill 'USR1', $quiet->{pid};
my $report = readline $quiet->{out};
waitpid($quiet->{pid}, 0);
my ($n, $worst, $later, $bad) = $report =~ /^(\d+) (\S+) (\d+) (.*)$/;
note("quiet client: $n rounds, slowest $worst s, $later writes to come again");
cmp_ok($n, '>', 50, 'the quiet client went on');
is($bad, '', 'all its requests were answered well');
cmp_ok($later, '<', $n / 5, 'few had to come again');
cmp_ok($worst, '<', 5, 'and soon');

$t->done();
