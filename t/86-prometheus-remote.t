#!/usr/bin/perl
# A real Prometheus that remote-writes to us, through reloads and a restart of
# nginx: what it has is what we have, sample by sample.
#
# The Prometheus of PATH (Debian has 2.42; TEST_PROMETHEUS names another) and
# that of TEST_PROMETHEUS35 take part at the same time, the latter once by
# remote_write 1.0 and once by 2.0.  These two also send native histograms,
# which we cannot keep yet: the floats beside them must not suffer.
use strict;
use warnings;
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Peers qw(peers version ask plain prometheus sink
    snippet);

my $t = Nightlight::Test->new();
my @binary = peers($t, 'prometheus');
plan(skip_all => 'no prometheus') unless @binary;

$t->write_conf();
$t->run();
my $dir = $t->dir;

# ---- what is scraped: each scrape is one further ----

# (no -0: the sender leaves out what equals 0, and it arrives as 0)
sink($t, 'target', sub {
    my ($req) = @_;
    my $n = $req->{n} + 1;
    my $text = "# HELP seq Number of this scrape.\n# TYPE seq gauge\nseq $n\n"
        . "# TYPE wave gauge\n# HELP wave Goes up and down.\n";
    $text .= "wave{i=\"$_\"} " . sprintf('%.17g', sin($n / 9 + $_) * 10 ** $_)
        . "\n" for 0 .. 19;
    # a series that comes and goes: stale markers
    $text .= "blink $n\n" if $n % 4 < 2;
    $text .= "# TYPE done_seconds counter\n# UNIT done_seconds seconds\n"
        . "# HELP done_seconds Time \\\"spent\\\".\n"
        . 'done_seconds_total ' . (1e6 + $n * 3) . " # {trace_id=\"t$n\","
        . "where=\"caf\xc3\xa9\"} $n.5\n"
        . "# TYPE special unknown\nspecial{k=\"nan\"} NaN\nspecial{k=\"inf\"} +Inf\n"
        . "special{k=\"caf\xc3\xa9\"} 5e-324\n# EOF\n";
    return (200, $text,
        'application/openmetrics-text; version=1.0.0; charset=utf-8');
});

my @senders;
for my $binary (@binary) {
    my $v = version($binary);
    for my $proto ($v =~ /^2/ ? '1.0' : ('1.0', '2.0')) {
        push @senders, { name => 'p' . @senders, binary => $binary,
            what => "$v by $proto", proto => $proto,
            features => '--enable-feature=exemplar-storage'
                . ($proto eq '2.0' ? ',metadata-wal-records' : '')
                . ($v =~ /^2/ ? '' : ',native-histograms'),
            histograms => $v !~ /^2/ };
    }
}

sub conf {
    my ($s, $scrape) = @_;
    my @targets = $scrape ? map { "'127.0.0.1:%%PORT_$_%%'" }
        ('target', 'http', $s->{name}) : ('', '', '');
    my $remote = $s->{proto} eq '2.0' ? snippet($t, 'remote-write-2')
        : snippet($t, 'remote-write') . "  send_exemplars: true\n";
    $remote .= "  send_native_histograms: true\n" if $s->{histograms};
    return <<"EOF2";
global:
  scrape_interval: 200ms
  scrape_timeout: 200ms
  external_labels: {sender: $s->{name}}
$remote  queue_config: {batch_send_deadline: 100ms, max_backoff: 500ms,
    max_samples_per_send: 100}
  metadata_config: {send_interval: 1s}
scrape_configs:
- job_name: target
  static_configs: [{targets: [$targets[0]]}]
- job_name: nightlight
  scrape_interval: 500ms
  static_configs: [{targets: [$targets[1]]}]
- job_name: self
  scrape_interval: 500ms
  static_configs: [{targets: [$targets[2]]}]
EOF2
}

for my $s (@senders) {
    $s->{pid} = prometheus($t, $s->{binary}, $s->{name}, conf($s, 1),
        $s->{features}) or BAIL_OUT("no Prometheus $s->{what}");
}

# Number of the newest scrape of a sender that we have; 0 while we are away.
sub newest {
    my ($s) = @_;
    return eval { $t->value("seq{sender=\"$s->{name}\"}") } || 0;
}

sub goes_on {
    my ($what) = @_;
    my %from = map { $_->{name} => newest($_) } @senders;
    for my $s (@senders) {
        ok($t->wait_for(sub { newest($s) > $from{$s->{name}} + 3 * @senders },
            'scrapes', 20), "$what: samples of Prometheus $s->{what} come")
            or diag($t->read_file('logs/prometheus.log'));
    }
}

goes_on('at first');
my $begin = time();
for (1 .. 3) {
    $t->reload();
    goes_on("reload $_");
}
ok($t->stop(), 'nginx is stopped');
my $before = () = $t->read_file('sink.target') =~ /\n/g;
$t->wait_for(sub { $before + 10 * @senders
    < (() = $t->read_file('sink.target') =~ /\n/g) }, 'scrapes meanwhile');
$t->run();
goes_on('back again');

# ---- nothing is scraped any more: all that there is must come ----

my $end = time();
for my $s (@senders) {
    $t->write_file_expand("$s->{name}.yml", conf($s, 0));
    kill 'HUP', $s->{pid};
}

# {series => [[t, v], ...]} of all that a server has of the scraped.
sub all_of {
    my ($port, $sender) = @_;
    my $only = $sender ? ",sender=\"$sender\"" : '';
    my $r = ask($t, $port, 'query', query => "{job=~\"target|nightlight|self\"$only}"
        . '[10m]', time => $end + 60);
    return if $r->{code} != 200;
    my %all;
    for my $series (@{$r->{data}{result}}) {
        next unless $series->{values};      # histograms
        delete $series->{metric}{sender};
        my $m = $series->{metric};
        $all{join ',', map { "$_=$m->{$_}" } sort keys %$m} = $series->{values};
    }
    return \%all;
}

# What of the first is not in the second: a text, empty if nothing.
sub missing {
    my ($x, $y) = @_;
    for my $series (sort keys %$x) {
        my $have = $y->{$series} or return "series $series";
        my %have = map { @$_ } @$have;
        for my $p (@{$x->{$series}}) {
            return "$series at $p->[0]" unless exists $have{$p->[0]};
            return "$series at $p->[0]: $have{$p->[0]}, not $p->[1]"
                if $have{$p->[0]} ne $p->[1];
        }
    }
    return '';
}

for my $s (@senders) {
    my ($theirs, $ours);
    # some intervals after the end, stale markers follow
    for my $port ($s->{name}, 'http') {
        my $only = $port eq 'http' ? "sender=\"$s->{name}\"," : '';
        ok($t->wait_for(sub {
            my $r = ask($t, $port, 'query', query =>
                "count({${only}job=~\"target|nightlight|self\"})");
            return $r->{code} == 200 && !@{$r->{data}{result}};
        }, 'stale markers'), "the end is marked as such ($port)");
    }
    my $missing = 'all';
    ok($t->wait_for(sub {
        $theirs = all_of($s->{name});
        $ours = all_of('http', $s->{name});
        return '' eq ($missing = missing($theirs, $ours));
    }, 'all samples', 30), "all that Prometheus $s->{what} has has come")
        or diag($missing);
    my $n = 0;
    $n += @$_ for values %$theirs;
    # where samples lie between tenths of a second
    $s->{taken}{sprintf('%.0f', $_->[0] * 1000) % 100} = 1
        for map { @$_ } values %$theirs;
    cmp_ok($n, '>', 2000, "$n samples of " . keys(%$theirs) . ' series');
    is(missing($ours, $theirs), '', 'and nothing else');
    my @seq = map { @{$theirs->{$_}} } grep { /__name__=seq,/ } keys %$theirs;
    cmp_ok(scalar @seq, '>', 30, scalar(@seq) . ' scrapes');
}

# ---- the same questions at instants within ----

my @queries = split /\n/, <<'EOQ';
seq
blink
wave{i=~"1.*"}
special
sum by (i) (wave)
count({job="target"})
count_over_time(blink[4s])
rate(done_seconds_total[4s])
min_over_time(wave{i="3"}[3s])
quantile_over_time(0.3, wave[4s])
max_over_time(rate(done_seconds_total[2s])[4s:700ms])
changes(blink[5s])
up
scrape_samples_scraped
topk(2, wave)
absent(blink)
timestamp(seq)
nightlight_samples_appended_total
EOQ

my $names = join '|', qw(seq blink special done_seconds_total wave up
    scrape_samples_scraped nightlight_samples_appended_total);

sub without_sender {
    my ($r) = @_;
    delete $_->{metric}{sender} for @{$r->{data}{result}};
    return join "\n", plain($r);
}

for my $s (@senders) {
    my $n = 0;
    for my $query (@queries) {
        for my $i (1 .. 5) {
            # never whole tenths of a second from a sample, since 2.42 takes
            # one to be in a range that begins with it
            my $ms = int(($begin + ($end - $begin) * $i / 6) * 1000);
            my ($off) = grep { !$s->{taken}{($ms + $_) % 100} } 0 .. 99;
            my $at = sprintf '%.3f', ($ms + ($off || 0)) / 1000;
            my $theirs = ask($t, $s->{name}, 'query', query => $query,
                time => $at);
            my $mine = $query =~
                s/(?<!by \()\b($names)\b(?:\{(.*?)\})?/
                    "$1\{sender=\"$s->{name}\"" . ($2 ? ",$2" : '') . '}'/egr;
            $mine =~ s/\(\{(?=job)/({sender="$s->{name}",/;
            my $ours = ask($t, 'http', 'query', query => $mine, time => $at);
            my ($x, $y) = map { without_sender($_) } $ours, $theirs;
            $n++ if @{$ours->{data}{result} || []};
            is($x, $y, "$s->{what}: $query") or diag($mine), last if $x ne $y;
        }
    }
    cmp_ok($n, '>', 50, "$n answers are the same as those of $s->{what}");
}

# ---- exemplars: those that the sender has; and metadata ----

sub exemplars {
    my ($port, $sender) = @_;
    my $r = ask($t, $port, 'query_exemplars', start => $begin - 60,
        end => $end + 60, query => 'done_seconds_total'
            . ($sender ? "{sender=\"$sender\"}" : ''));
    delete $_->{seriesLabels}{sender} for @{$r->{data} || []};
    return $r;
}

for my $s (@senders) {
    my ($theirs, $ours) = (exemplars($s->{name}), exemplars('http', $s->{name}));
    cmp_ok(scalar @{$theirs->{data}[0]{exemplars}}, '>', 20,
        "exemplars of $s->{what}");
    is_deeply($ours->{data}, $theirs->{data}, 'all are here');
}

my %metadata = (
    seq => ['gauge', 'Number of this scrape.', ''],
    wave => ['gauge', 'Goes up and down.', ''],
    done_seconds => ['counter', 'Time "spent".', 'seconds'],
);
# 2.0 says it of series, not of families
$metadata{done_seconds_total} = $metadata{done_seconds} if @senders > 1;
for my $name (sort keys %metadata) {
    my %want;
    @want{qw(type help unit)} = @{$metadata{$name}};
    is_deeply($t->api('metadata', metric => $name)->{data},
        { $name => [\%want] }, "metadata of $name");
}

# ---- what the senders themselves say of it ----

for my $s (@senders) {
    my $metrics = $t->http('GET', '/metrics', port => $s->{name})->{body};
    for my $what (qw(samples_failed samples_dropped exemplars_failed
        exemplars_dropped metadata_failed))
    {
        my @n = $metrics =~
            /^prometheus_remote_storage_${what}_total\{.*\} (\S+)$/mg;
        is(eval { join '+', grep { $_ } @n }, '', "$s->{what}: no $what");
    }
}

# ---- native histograms ----

my ($by2) = grep { $_->{proto} eq '2.0' } @senders;
if ($by2) {
    my ($failed) = $t->http('GET', '/metrics', port => $by2->{name})->{body} =~
        /^prometheus_remote_storage_histograms_failed_total\{.*\} (\S+)$/m;
    cmp_ok($failed, '>', 0, "$failed histograms: the sender by 2.0 is told");
    cmp_ok($t->metric('nightlight_histograms_not_stored_total'), '>', $failed,
        'we count those of the sender by 1.0, too');
    is($t->value("count({job=\"self\"})", time => $end) > 500 ? 1 : 0, 1,
        'floats of the same scrapes are here');
} else {
    is($t->metric('nightlight_write_requests_refused_total'), '0',
        'nothing was refused');
}
$t->done();
