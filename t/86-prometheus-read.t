#!/usr/bin/perl
# A real Prometheus that reads from us: by remote_read, where it has nothing of
# its own and answers what we answer, and by /federate, which it scrapes.
#
# The Prometheus of PATH (Debian has 2.42; TEST_PROMETHEUS names another) and
# that of TEST_PROMETHEUS35.  What 2.42 answers otherwise (ranges closed at both
# ends, last digits of sums) is not asked.
use strict;
use warnings;
no warnings 'portable';      # 64-bit integers are needed anyway
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Peers qw(peers version ask plain prometheus snippet);

my $t = Nightlight::Test->new();
my @binary = peers($t, 'prometheus');
plan(skip_all => 'no prometheus') unless @binary;

$t->write_conf(store => 'memory=24m retention=10y', locations => <<'EOF2');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location = /federate     { nightlight_query main; }
EOF2
$t->run();

# ---- samples: six hours, of which four are in blocks ----

my $t0 = int(time() / 3600) * 3600 - 6 * 3600;
# the label that the readers have as an external one
my %site = (site => 's');
my %special = (nan => 0x7ff8000000000001, cnan => 0xfff8000000000abc,
    inf => 0x7ff0000000000000, ninf => 0xfff0000000000000,
    nzero => 0x8000000000000000, tiny => 1, tenth => 0x3fb999999999999a);
my $stale = 0x7ff0000000000002;

sub fill {
    my ($from, $n) = @_;
    my $at = sub { ($from + 15 * $_[0]) * 1000 };
    my $pb = '';
    for my $i (0 .. 9) {
        $pb .= Nightlight::Test::series_pb({ %site, __name__ => 'wave',
            i => "$i" }, map { [$at->($_), sin($_ / 20 + $i) * 10 ** $i] }
            0 .. $n - 1);
        $pb .= Nightlight::Test::series_pb({ %site, __name__ => 'jobs_total',
            i => "$i", where => "caf\x{e9} \"\\" },
            map { [$at->($_), 1e6 + ($from - $t0) / 15 + $_ * ($i + 1)] }
            0 .. $n - 1);
    }
    for my $k (sort keys %special) {
        $pb .= Nightlight::Test::series_pb({ %site, __name__ => 'special',
            k => $k }, map { [$at->($_), \pack('Q<', $special{$k})] }
            map { 7 * $_ } 0 .. $n / 7);
    }
    # there for a minute, gone for a minute
    $pb .= Nightlight::Test::series_pb({ %site, __name__ => 'blink' },
        map { $_ % 8 < 4 ? [$at->($_), $_]
            : $_ % 8 == 4 ? [$at->($_), \pack('Q<', $stale)] : () } 0 .. $n - 1);
    is($t->write_pb($pb)->{status}, 204, 'samples');
}

fill($t0, 960);
is($t->write({ __name__ => 'wave', i => '0' }, [($t0 + 7) * 1000, 1]), 204,
    'one of another site');
is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
ok($t->wait_for(sub { $t->metric('nightlight_flushes_total') > 0 }, 'flush'),
    'blocks');
fill($t0 + 14400, 480);
# and late ones, in the head, between those in blocks
is($t->write({ %site, __name__ => 'wave', i => '3' },
    map { [($t0 + 3600 + 15 * $_) * 1000 + 5000, 7] } reverse 0 .. 99), 204,
    'late ones');
my $end = $t0 + 6 * 3600;
my $now = int(time() * 1000);
is($t->write({ __name__ => 'up', job => 'a', instance => 'x:1' }, [$now, 1],
    { __name__ => 'up', job => 'b' }, [$now, 0],
    { __name__ => 'other' }, [$now, 5]), 204, 'samples of now');

# ---- the readers ----

my @readers = map { { binary => $binary[$_], name => "p$_",
    what => version($binary[$_]) } } 0 .. $#binary;
for my $r (@readers) {
    my $read = snippet($t, 'remote-read');
    my $scrape = snippet($t, 'federate', '15s' => '500ms');
    prometheus($t, $r->{binary}, $r->{name}, <<"EOF2")
global: {external_labels: {site: s}}
$read
$scrape
EOF2
        or BAIL_OUT("no Prometheus $r->{what}");
}

my @queries = split /\n/, <<'EOQ';
wave
jobs_total{i="4"}
jobs_total{where="café \"\\"}
{__name__=~"wave|blink"}
{__name__=~"w.*",i!="3"}
special
blink
wave{i="3"}[10m]
special[30m]
blink[5m]
jobs_total{i=~"[2-4]"}[5h]
count_over_time(wave[6h])
sum by (i) (rate(jobs_total[5m]))
increase(jobs_total{i="1"}[3h])
max_over_time(wave[1h])
quantile_over_time(0.4, wave{i="3"}[2h])
changes(blink[30m])
count(wave) + count(jobs_total)
max_over_time(rate(jobs_total{i="9"}[2m] offset 777ms)[1h:70s])
wave offset 3h
absent(blink)
timestamp(wave)
nothing_at_all
EOQ

sub without_site {
    my ($r) = @_;
    delete $_->{metric}{site} for @{$r->{data}{result}};
    return join "\n", plain($r);
}

for my $r (@readers) {
    my ($n, $empty) = (0, 0);
    for my $query (@queries) {
        # what a reader does not have to say: which site
        my $mine = $query =~ s/\{(?=\w)/{site="s",/r;
        $mine =~ s/\b(wave|special|blink|jobs_total)\b(?!["{|])/$1\{site="s"}/g;
        my @at = map { [time => sprintf '%.3f', $t0 + 1.777 + $_ * 3571] } 1 .. 6;
        push @at, [start => $t0 + 100.777, end => $end - 3.3, step => '333.1']
            if $query !~ /\]$/;
        for my $at (@at) {
            my $path = @$at > 2 ? 'query_range' : 'query';
            my $ours = ask($t, 'http', $path, query => $mine, @$at);
            my $theirs = ask($t, $r->{name}, $path, query => $query, @$at);
            my ($x, $y) = map { without_site($_) } $theirs, $ours;
            $empty++ unless @{$ours->{data}{result} || []};
            $n++ if $x eq $y;
            is($x, $y, "$r->{what}: $query @$at"), last if $x ne $y;
        }
    }
    is($n, 6 * @queries + grep({ !/\]$/ } @queries),
        "$n answers of $r->{what} are ours");
    cmp_ok($empty, '<', 20, 'few of them are empty');
    is($t->value('count(wave)', time => $t0 + 20), '11',
        'the one of another site is here') if $r == $readers[0];
}
my @reads = $t->read_file('access.log') =~ m{"POST /api/v1/read [^"]*" (\d+)}g;
cmp_ok(scalar @reads, '>', 100, scalar(@reads) . ' reads');
is_deeply([grep { $_ != 200 } @reads], [], 'all answered');

# ---- federation ----

for my $r (@readers) {
    # what was scraped: it has the label of neither job nor instance
    my $have;
    ok($t->wait_for(sub {
        $have = ask($t, $r->{name}, 'query', query => '{job=~"a|b"}');
        return @{$have->{data}{result} || []} == 2;
    }, 'federated series'), "$r->{what} scrapes /federate");
    my %have = map { "$_->{metric}{job} " . ($_->{metric}{instance} || '')
        => $_->{value}[1] } @{$have->{data}{result}};
    is_deeply(\%have, { 'a x:1' => '1', 'b ' => '0' },
        'with the labels that we have');
    my $up = ask($t, $r->{name}, 'query', query => 'up{job="federate"}');
    is($up->{data}{result}[0]{value}[1], '1', 'the scrape is well');
    my $at = ask($t, $r->{name}, 'query',
        query => 'timestamp(up{job="a"}) * 1000');
    is(sprintf('%.0f', $at->{data}{result}[0]{value}[1]), $now,
        'and our time');
    # read back: remote_read would answer it, too, were it not of another site
    is(scalar @{ask($t, $r->{name}, 'query', query => 'other')->{data}{result}},
        0, 'what does not match is not there');
}
$t->done();
