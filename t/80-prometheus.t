#!/usr/bin/perl
# A real Prometheus scrapes real exporters every second and sends all of it
# here by remote_write; asked the same at the same instants, both answer the
# same.
#
# Debian's 2.42 differs from the Prometheus that we follow in annotations,
# which it does not have, in ranges, which it closes at both ends, in rates of
# counters that are born inside the range, and in the last bits of sums.  So
# annotations are left out, instants never fall on a sample, the counters are
# older, and values that are not the same text may differ by 1e-12.
# TEST_PROMETHEUS names another binary.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;

my $t = Nightlight::Test->new();
my $prometheus = $ENV{TEST_PROMETHEUS} || $t->program('prometheus');
my $exporter = $t->program('prometheus-node-exporter');
plan(skip_all => 'no prometheus') unless $prometheus;
plan(skip_all => 'no prometheus-node-exporter') unless $exporter;

$t->write_conf();
$t->run();

my %at = map { $_ => '127.0.0.1:' . $t->port($_) } qw(http prom node);
$t->write_file('prometheus.yml', <<"EOF");
global:
  scrape_interval: 1s
  scrape_timeout: 900ms
scrape_configs:
- job_name: node
  static_configs: [{targets: ['$at{node}']}]
- job_name: prometheus
  static_configs: [{targets: ['$at{prom}'], labels: {zone: "caf\xc3\xa9"}}]
- job_name: nightlight
  static_configs: [{targets: ['$at{http}']}]
- job_name: down
  static_configs: [{targets: ['127.0.0.1:1']}]
remote_write:
- url: http://$at{http}/api/v1/write
  queue_config: {batch_send_deadline: 100ms, max_shards: 2}
  metadata_config: {send_interval: 2s}
EOF
my $node_pid = $t->spawn($exporter, "--web.listen-address=$at{node}",
    '--log.level=error');
$t->spawn($prometheus, "--config.file=" . $t->dir . '/prometheus.yml',
    '--storage.tsdb.path=' . $t->dir . '/prometheus',
    "--web.listen-address=$at{prom}", '--log.level=warn');

sub ask {
    my ($port, $path, %p) = @_;
    my $r = $t->http('GET', "/api/v1/$path?" . Nightlight::Test::form(%p),
        port => $port);
    my $json = eval { JSON::PP->new->utf8->decode($r->{body}) } || {};
    return { code => $r->{status}, raw => $r->{body}, %$json };
}

# Newest time to which $port has all that was scraped before: s, or 0.
sub newest {
    my ($port) = @_;
    my $r = eval { ask($port, 'query', query => 'timestamp(up)') } or return 0;
    my @times = map { $_->{value}[1] } @{$r->{data}{result} || []};
    return 0 if @times < 4;
    return (sort { $a <=> $b } @times)[0];
}

# An instant that both know all about, from which neither a sample nor a step
# of a subquery is a whole number of steps away.
sub instant {
    my ($after, $seconds) = @_;
    my $newest;
    $t->wait_for(sub {
        my @have = (newest('http'), newest('prom'));
        $newest = $have[0] < $have[1] ? $have[0] : $have[1];
        return $newest > $after;
    }, 'samples in both', $seconds) or return;
    # steps are multiples of 100 ms, so only the last two digits matter
    my %taken = map { int($_->{value}[1] * 1000 + 0.5) % 100 => 1 }
        @{ask('prom', 'query', query => 'timestamp(up)')->{data}{result}};
    $taken{0} = 1;
    my $ms = 537;
    $ms++ while grep { $taken{($ms + $_) % 100} } -2 .. 2;
    return int($newest) - 1 + $ms / 1000;
}

my $start = time();
$t->wait_for(sub { newest('http') && newest('prom') }, 'first samples', 15)
    or diag($t->read_file('logs/prometheus.log'));
my $first = newest('http');
my $now = instant($first + 10, 25);
ok($now, 'Prometheus has scraped and sent') or do {
    diag($t->read_file('logs/prometheus.log'));
    $t->done();
    exit;
};
note(sprintf 'data after %.1f s', time() - $start);

# ---- the same questions ----

my $n_exact = 0;

sub same_value {
    my ($x, $y) = @_;
    return ++$n_exact if $x eq $y;
    return 0 if "$x$y" =~ /[a-df-zA-Z]/;
    my $size = (abs($x) > abs($y) ? abs($x) : abs($y));
    return abs($x - $y) <= 1e-12 * $size;
}

sub key { my ($m) = @_; join "\0", map { "$_=$m->{$_}" } sort keys %$m }

# Differences of two answers, "" if there are none.
sub difference {
    my ($x, $y, $ordered) = @_;
    return "status $x->{code}, not $y->{code}" if $x->{code} != $y->{code};
    # 2.42 does not name the parameter in query_range
    s/^invalid parameter "query": // for grep { defined } $x->{error}, $y->{error};
    return $x->{error} eq $y->{error} ? '' : "error $x->{error}, not $y->{error}"
        if $y->{status} eq 'error';
    my ($type) = ($y->{data}{resultType});
    return "type $x->{data}{resultType}, not $type"
        if $x->{data}{resultType} ne $type;
    my ($r, $s) = ($x->{data}{result}, $y->{data}{result});
    if ($type eq 'scalar' || $type eq 'string') {
        return $r->[0] == $s->[0] && same_value($r->[1], $s->[1]) ? ''
            : "@$r, not @$s";
    }
    return scalar(@$r) . ' series, not ' . @$s if @$r != @$s;
    my @k = map { [map { key($_->{metric}) } @$_] } $r, $s;
    if ($type eq 'vector' && !$ordered) {
        my @o = map { my $k = $_; [sort { $k->[$a] cmp $k->[$b] } 0 .. $#$k] } @k;
        ($r, $s) = ([@$r[@{$o[0]}]], [@$s[@{$o[1]}]]);
        @k = map { [sort @$_] } @k;
    }
    for my $i (0 .. $#$r) {
        return "series $k[0][$i], not $k[1][$i]" if $k[0][$i] ne $k[1][$i];
        my @points = map { $_->[$i]{values} || [$_->[$i]{value}] } $r, $s;
        return scalar(@{$points[0]}) . ' points, not ' . @{$points[1]}
            . " in $k[0][$i]" if @{$points[0]} != @{$points[1]};
        for my $j (0 .. $#{$points[0]}) {
            my ($p, $q) = ($points[0][$j], $points[1][$j]);
            return "@$p, not @$q in $k[0][$i]"
                unless $p->[0] == $q->[0] && same_value($p->[1], $q->[1]);
        }
    }
    return '';
}

my $empty = 0;

sub agree {
    my ($query, $what, $path, %p) = @_;
    my ($x, $y) = map { ask($_, $path, query => $query, %p) } 'http', 'prom';
    my $diff = eval { difference($x, $y, $query =~ /^(?:sort|topk|bottomk)/) };
    $diff = "broken: $@" unless defined $diff;
    is($diff, '', "$what: $query")
        or diag(substr($x->{raw}, 0, 300), "\n", substr($y->{raw}, 0, 300));
    $empty++ if ref $y->{data}{result} && !@{$y->{data}{result}};
}

my @queries = split /\n/, <<'EOQ';
1
"text"
time()
vector(time())
up
up{job!="down"} == 1
{__name__=~"node_cpu.*",mode="idle"}
{job="node",__name__!~"node_.*|go_.*"}
{zone="café",__name__="up"}
count({__name__=~".+"})
count by (job) ({__name__=~".+"})
count by (__name__) ({job="nightlight"})
topk(3, count by (job) ({__name__=~".+"}))
bottomk(2, count by (job) ({__name__=~".+"}))
sort(count by (job) ({__name__=~".+"}))
sort_desc(count by (job) ({__name__=~".+"}))
count_values("value", up)
count_values by (job) ("n", prometheus_tsdb_head_chunks > bool 0)
rate(prometheus_http_requests_total{handler="/metrics"}[5s])
irate(prometheus_http_requests_total{handler="/metrics"}[5s])
increase(prometheus_tsdb_head_samples_appended_total[5s])
sum by (mode) (rate(node_cpu_seconds_total[5s]))
avg without (cpu) (irate(node_cpu_seconds_total[5s]))
1 - avg(rate(node_cpu_seconds_total{mode="idle"}[5s]))
max by (device) (node_network_receive_bytes_total)
min(node_filesystem_avail_bytes) / 1024 ^ 2
stddev(scrape_samples_scraped)
stdvar by (job) (scrape_samples_scraped)
quantile(0.75, scrape_samples_scraped)
quantile by (job) (0.1, go_gc_duration_seconds)
group by (job, instance) (up)
histogram_quantile(0.9, rate(prometheus_http_request_duration_seconds_bucket{handler="/metrics"}[5s]))
histogram_quantile(0.5, sum by (le) (prometheus_http_request_duration_seconds_bucket))
histogram_quantile(0.99, sum by (le, handler) (prometheus_http_response_size_bytes_bucket))
node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100
node_memory_MemTotal_bytes - on(instance) node_memory_MemFree_bytes
node_uname_info * on(instance, job) group_left() up
up * on(job, instance) group_right() process_open_fds
scrape_samples_scraped / ignoring(zone) scrape_samples_post_metric_relabeling
up and on(job) scrape_duration_seconds > 0
up or node_load1
up unless on(job) go_info
go_goroutines > 5
go_goroutines > bool 5
-go_goroutines % 4
go_goroutines ^ 2 - 3 * go_goroutines
label_replace(up, "host", "$1", "instance", "(.*):.*")
label_join(up, "both", "/", "job", "instance")
avg_over_time(go_goroutines[7s])
min_over_time(go_goroutines[7s])
max_over_time(go_goroutines[7s])
sum_over_time(scrape_samples_scraped[7s])
count_over_time(up[7s])
stddev_over_time(go_memstats_alloc_bytes[7s])
quantile_over_time(0.6, go_memstats_alloc_bytes[7s])
last_over_time(up[3s])
present_over_time(up[3s])
delta(go_memstats_alloc_bytes[5s])
idelta(go_memstats_alloc_bytes[5s])
deriv(go_memstats_alloc_bytes_total[5s])
predict_linear(prometheus_tsdb_head_samples_appended_total[5s], 60)
changes(go_memstats_alloc_bytes[5s])
resets(go_memstats_alloc_bytes[5s])
absent(up{job="nope"})
absent(up)
absent_over_time(nope{a="b"}[5s])
rate(node_cpu_seconds_total{mode="idle"}[5s] offset 3s)
up offset -1s
sum(up @ end()) + sum(up @ start())
max_over_time(rate(prometheus_http_requests_total{handler="/metrics"}[3s])[3s:1s])
sum_over_time(sum(up)[5s:500ms])
avg_over_time((go_goroutines > 5)[5s:1s])
quantile_over_time(0.5, sum by (job) (scrape_samples_scraped)[6s:2s])
timestamp(up)
time() - timestamp(up)
scalar(count(up)) * up
round(scrape_duration_seconds, 0.001)
clamp(go_goroutines, 3, 30)
floor(node_load1) + ceil(node_load1)
hour() + minute() + day_of_week() + day_of_month() + month() + year()
days_in_month(vector(1456790399)) == bool 29
up[3s]
scrape_samples_scraped{job="node"}[4s:1s]
nothing_at_all
up{job=~"n.*|p.*",instance!=""}
sum(
up{
rate(up)
unknown(up)
up[5s
up + on(instance) group_left scrape_duration_seconds + foo(
EOQ
cmp_ok(scalar @queries, '>=', 80, scalar(@queries) . ' questions');

for my $query (@queries) {
    agree($query, 'instant', 'query', time => $now);
}
for my $query (grep { !/\[\d\w+(?::\w+)?\]$|^"|^sort/ } @queries) {
    agree($query, 'range', 'query_range', start => $now - 2.1,
        end => $now, step => 0.7);
}
cmp_ok($n_exact, '>', 1200, "$n_exact values are the same to the letter");
cmp_ok($empty, '<', 20, "$empty answers were empty");

# ---- metadata ----

sub same_list {
    my ($path, %p) = @_;
    my ($x, $y) = map {
        my $r = ask($_, $path, %p);
        [sort map { ref $_ ? key($_) : $_ } @{$r->{data} || []}] } 'http', 'prom';
    is_deeply($x, $y, "$path " . join(' ', map { ref $_ ? @$_ : $_ } %p));
    cmp_ok(scalar @$x, '>', 0, 'and something');
}

my @when = (start => $now - 5, end => $now);
same_list('labels', @when);
same_list('labels', 'match[]' => 'up', @when);
same_list("label/$_/values", @when) for qw(__name__ job instance mode zone le);
same_list('label/mode/values', 'match[]' => 'node_cpu_seconds_total', @when);
same_list('series', 'match[]' => 'up', @when);
same_list('series', 'match[]' => ['{job="prometheus"}', 'up{job="node"}'],
    @when);
same_list('series', 'match[]' => '{__name__=~"node_.*"}', @when);

# ---- promtool as a client ----

SKIP: {
    my $promtool = $t->program('promtool');
    skip 'no promtool', 1 unless $promtool;

    my $run = sub {
        my ($port, @args) = @_;
        @args = map { $_ eq 'SERVER' ? "http://$at{$port}" : $_ } @args;
        open(my $p, '-|', $promtool, 'query', @args) or return 'cannot run';
        my @lines = sort <$p>;
        close $p;
        return join '', @lines;
    };
    for my $case (
        ['instant', "--time=$now", 'SERVER', 'up'],
        ['instant', "--time=$now", 'SERVER', 'sum by (job) (rate('
            . 'process_cpu_seconds_total[5s])) > bool 0'],
        ['range', '--start=' . int($now - 4), '--end=' . int($now), '--step=2s',
            'SERVER', 'process_open_fds{job="node"}'],
        ['series', '--match=up', '--start=' . int($now - 4),
            '--end=' . int($now), 'SERVER'],
        ['labels', '--start=' . int($now - 4), '--end=' . int($now), 'SERVER',
            'job'],
    )
    {
        my @out = map { $run->($_, @$case) } 'http', 'prom';
        is($out[0], $out[1], "promtool query @$case");
        isnt($out[0], '', 'and something');
    }
}

# ---- an exporter that goes away ----

kill 'TERM', $node_pid;
waitpid($node_pid, 0);
# a scrape that was under way may still come, and on a busy machine late
$t->wait_for(sub {
    for my $server ('http', 'prom') {
        my $r = ask($server, 'query', query => 'up{job="node"}')->{data}{result};
        return 0 unless @{$r || []} && $r->[0]{value}[1] eq '0';
    }
    return 1;
}, 'scrapes of it fail', 30);
my $gone = time();
$now = instant($gone + 2, 30);
ok($now, 'an exporter has gone');
is(ask('http', 'query', query => 'up{job="node"}', time => $now)
    ->{data}{result}[0]{value}[1], '0', 'it is down');
is(scalar @{ask('http', 'query', query => 'node_load1', time => $now)
    ->{data}{result}}, 0, 'its series are stale');
for my $query ('up', 'node_load1', 'count({job="node"})',
    'count_over_time(node_load1[15s])', 'rate(node_cpu_seconds_total[10s])',
    'last_over_time(node_load1[15s])', 'node_load1[15s]',
    'count by (__name__) ({job="node"})', 'sum_over_time(up{job="node"}[9s])')
{
    agree($query, 'stale', 'query', time => $now);
}
agree('node_load1', 'stale', 'query_range', start => $now - 6, end => $now,
    step => 0.5);

is($t->metric('nightlight_write_requests_refused_total'), '0',
    'no request of Prometheus was refused');
$t->done();
