#!/usr/bin/perl
# query_exemplars and metadata, asked of Nightlight and of a real Prometheus
# (3.0 at least, with its exemplar storage on) that were sent the same: status
# and body, byte for byte.
#
#   TEST_PROMETHEUS=...   the Prometheus to compare with
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Side qw(exemplar1 series1 request2);
use Nightlight::Test;
use Nightlight::Write2;

my $t = Nightlight::Test->new();
my $prometheus = $ENV{TEST_PROMETHEUS} || $t->program('prometheus');
plan(skip_all => 'no prometheus') unless $prometheus;
my ($version) = `$prometheus --version 2>&1` =~ /version (\d+\.\d+)/;
plan(skip_all => "prometheus $version is older than 3")
    if !$version || $version < 3;

$t->write_conf();
$t->run();
$t->write_file('prometheus.yml', "global: {scrape_interval: 1m}\n");
$t->spawn($prometheus, '--config.file=' . $t->dir . '/prometheus.yml',
    '--storage.tsdb.path=' . $t->dir . '/prom', '--log.level=error',
    '--web.listen-address=127.0.0.1:' . $t->port('prom'),
    '--enable-feature=exemplar-storage,promql-duration-expr',
    '--web.enable-remote-write-receiver');
$t->wait_for(sub { my $r = eval { $t->http('GET', '/-/ready', port => 'prom') };
    $r && $r->{status} == 200 }, 'prometheus ready', 60)
    or BAIL_OUT($t->read_file('logs/prometheus.log'));

my $now = int(time()) * 1000;
sub nan { return \pack('VV', 1, 0x7ff80000) }

# ---- the data: in order of time, as Prometheus wants it ----

my @series = map { my $i = $_; [{ __name__ => 'lat_bucket', le => $i,
        job => $i % 2 ? 'a' : "b\"\\\n<\xc3\xa9>" }, [[$now, $i]],
    [map { [{ trace_id => "t$i-$_", $_ % 3 ? () : (span => "<&>'\x{2028}") },
        $i / 3 + $_, $now - 9000 + 1000 * $_ + $i] } 0 .. $i]] } 0 .. 5;
push @series, [{ __name__ => 'special' }, [[$now, 1]],
    [[{}, nan(), $now - 6000], [{ a => '' }, '-inf', $now - 5000],
     [{ b => 1 }, 'inf', $now - 4000], [{ z => 1, A => 2 }, 1e-7, $now - 3000],
     [{ c => 1 }, 1e21, $now - 2000], [{ d => 1 }, -0.0, $now - 1500],
     [{ d => 1 }, 123456789, $now - 1499]]],
    [{ __name__ => 'limits' }, [[$now, 1]],
    [[{ k => 'x' x 127 }, 1, $now - 3000], [{ k => 'x' x 128 }, 2, $now - 2000],
     [{ k => "\x{1f600}" x 127 }, 3, $now - 1000]]],
    [{ __name__ => 'equal' }, [[$now, 1]],
    [[{ k => 'a' }, 1, $now], [{ k => 'a' }, 2, $now], [{ k => 'a' }, 2, $now]]],
    [{ __name__ => 'none' }, [[$now, 1]]];
my $body = Nightlight::Test::snappy(request2(@series));
for my $port (qw(http prom)) {
    my $r = $t->write_raw($body, port => $port, headers => \%WRITE2_HEADERS);
    is($r->{status}, 204, "2.0: $port");
    is($r->{headers}{'x-prometheus-remote-write-samples-written'}, 10, 'samples');
}
$body = Nightlight::Test::snappy(series1({ __name__ => 'old' }, [$now, 1],
    exemplar1({ trace_id => 'one' }, 1, $now - 2000),
    exemplar1({ trace_id => 'two' }, 2, $now - 1000)));
is($t->write_raw($body, port => $_)->{status}, 204, "1.0: $_")
    for qw(http prom);

# ---- the same questions ----

my $n = 0;
sub same {
    my ($method, $path, $args, %p) = @_;
    my @q = ref $args ? Nightlight::Test::form(@$args) : $args;
    my @r = map { $t->http($method, "/api/v1/$path"
        . ($method eq 'GET' && $q[0] ne '' ? "?$q[0]" : ''), port => $_,
        $method eq 'POST' ? (body => $q[0], headers => { 'Content-Type' =>
            'application/x-www-form-urlencoded' }) : ()) } qw(http prom);
    $n++;
    my $name = "$method $path $q[0]";
    is($r[0]{status}, $r[1]{status}, "$name: status");
    if ($p{body} // 1) {
        is($r[0]{body}, $r[1]{body}, "$name: body");
    }
    is($r[0]{headers}{'content-type'} // 'none',
        $r[1]{headers}{'content-type'} // 'none', "$name: type");
    return $r[0];
}

my ($from, $to) = ($now / 1000 - 3600, $now / 1000 + 60);
my @range = (start => $from, end => $to);
my $r = same('GET', 'query_exemplars', [query => 'lat_bucket', @range]);
like($r->{body}, qr/t5-5/, 'there is something to compare');
same('GET', 'query_exemplars', [query => $_, @range]) for 'special', 'limits',
    'equal', 'none', 'missing', 'old', '{__name__=~".+"}', '{job="a",le!="1"}',
    'rate(lat_bucket[5m]) + on () group_left special',
    'sum by (le) (rate(lat_bucket{job=~"a|c"}[1m])) > bool scalar(special)',
    'histogram_quantile(0.9, sum by (le) (rate(lat_bucket[1m])))',
    'max_over_time(special[1h:1m] offset 5m)', 'topk(scalar(old), limits)',
    '-special', '(limits)', 'special @ 5', 'absent(old)',
    'special or special or old', 'label_replace(old, "a", "$1", "b", "(.*)")';
same('POST', 'query_exemplars', [query => 'special', @range]);
same('GET', 'query_exemplars', [query => 'special', start => $_->[0],
    end => $_->[1]]) for
    map { [map { sprintf '%.3f', $now / 1000 + $_ } @$_] } [-6, -6],
    [-6, -1.5], [-5.999, -5.001], [-1.5, -1.499], [-1e6, 1e6], [5, 6];
same('GET', 'query_exemplars', [query => 'special', start => $now,
    end => $now + 1000]);
same('GET', 'query_exemplars', [query => 'special',
    start => '2020-01-01T00:00:00Z', end => '2099-01-01T00:00:00.5+01:00']);
same('GET', 'query_exemplars', [query => 'special']);
same('GET', 'query_exemplars', [query => 'special', start => '', end => '']);
same('GET', 'query_exemplars', $_) for '', 'query=', 'query=1', 'query="x"',
    'query=vector(1)', 'query=time()', 'query=sum(', 'query=%7B%7D',
    'query=rate(special)', 'query=foo(special)', 'query=special%5B5m%5D',
    'query=special&start=x', 'query=special&end=x', 'query=special&start=5&end=4',
    'query=sum(&start=x', 'query=sum(&start=5&end=4', 'start=5&end=5',
    'query=%7B__name__%3D~%22(%22%7D', 'query=a%7B', 'query=special&start=-5',
    'query=%FF', 'query=special&query=old';

# ---- metadata: Prometheus scrapes nothing, so it has none ----

same('GET', 'metadata', $_) for '', 'metric=none', 'limit=0', 'limit=-1',
    'limit=5', 'limit=x', 'limit=', 'limit=1.0', 'limit=99999999999999999999',
    'limit_per_metric=x', 'limit_per_metric=0', 'limit_per_metric=-1',
    'limit=x&limit_per_metric=y', 'limit=%2B5';

diag("$n questions, prometheus $version");
$t->done();
