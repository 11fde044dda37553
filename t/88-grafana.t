#!/usr/bin/perl
# What Grafana's Prometheus data source asks, in its order and its forms, as a
# script of requests with the answers it needs.  Grafana itself is not here:
# its requests are written down from its published behaviour, the answers are
# checked against a real Prometheus where one is (TEST_PROMETHEUS35, a 3.x).
use strict;
use warnings;
use IO::Uncompress::Gunzip qw(gunzip);
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Peers qw(version prometheus snippet);

my $t = Nightlight::Test->new();
$t->write_conf(locations => <<'EOF2');
        location = /api/v1/write { nightlight_write main; }
        location /-/             { nightlight_status main; }
        location /api/v1/ {
            nightlight_query main;
            gzip on;
            gzip_types application/json;
            gzip_proxied any;
        }
EOF2
$t->run();

# what docs/CLIENTS.md sets up
my $source = snippet($t, 'grafana');
like($source, qr/^  type: prometheus$/m, 'the data source');
like($source, qr/^    httpMethod: POST$/m, 'asks by POST where it can');
my ($minor) = $source =~ /^    prometheusVersion: 2\.(\d+)\.\d+$/m;
cmp_ok($minor, '>=', 24, 'and labels by match[]');
my ($overlap) = $source =~ /^    incrementalQueryOverlapWindow: (\d+)m$/m;
cmp_ok($overlap *= 60, '>', 0, 'and only the new part of a panel');

# ---- an hour of samples, every 15 s, to a while ago ----

my $step = 15;
my $from = int(time() / 60) * 60 - 3900;
my $to = $from + 3600;
my $n = ($to - $from) / $step;

sub pb {
    my ($labels, $value, @range) = @_;
    return Nightlight::Test::series_pb($labels,
        map { [($from + $step * $_) * 1000, $value->($_)] } @range);
}

my %labels = (job => 'web', instance => 'a:80');
my @all = map { my $i = $_; (
    [{ __name__ => 'http_requests_total', %labels, code => "${i}00" },
        sub { int(1000 + $_[0] * ($i + 0.7)) }],
    [{ __name__ => 'temperature', %labels, room => "r$i" },
        sub { 20 + sin($_[0] / 10 + $i) }],
    [{ __name__ => 'lat_bucket', job => 'web', le => ('0.1', '0.5', '+Inf')[$i] },
        sub { $_[0] * ($i + 1) + int($_[0] / 7) }]) } 0 .. 2;
push @all, [{ __name__ => 'http.requests', job => 'web',
    'http.status' => "caf\x{e9}" }, sub { $_[0] }],
    [{ __name__ => 'up', %labels }, sub { 1 }];
my $pb = join '', map { pb(@$_, 0 .. $n) } @all;
# an exemplar, as Prometheus sends it, and metadata
$pb .= Nightlight::Test::field(1,
    Nightlight::Test::labels_pb($all[0][0]) . Nightlight::Test::field(3,
        Nightlight::Test::labels_pb({ trace_id => 'abc' }) . "\x11"
        . pack('d<', 0.25) . "\x18"
        . Nightlight::Test::varint(($to - 60) * 1000 + 5)));
$pb .= Nightlight::Test::field(3, "\x08\x01"
    . Nightlight::Test::field(2, 'http_requests_total')
    . Nightlight::Test::field(4, 'Requests so far.'));
is($t->write_pb($pb)->{status}, 204, 'samples');

my @server = 'http';
if (my $binary = $ENV{TEST_PROMETHEUS35}) {
    my $pid = prometheus($t, $binary, 'prom', "global: {scrape_interval: 1h}\n",
        '--web.enable-remote-write-receiver',
        '--enable-feature=exemplar-storage');
    if ($pid && $t->write_pb($pb, port => 'prom')->{status} == 204) {
        push @server, 'prom';
        diag('answers are checked against Prometheus ' . version($binary));
    }
}

# ---- one request as Grafana makes it ----

# Parameters in the order in which Go writes them: sorted by name.
sub call {
    my ($port, $method, $path, $params, %headers) = @_;
    my $form = Nightlight::Test::form(%{$params || {}});
    my $uri = "/api/v1/$path" . ($method eq 'GET' && $form ne '' ? "?$form" : '');
    my $r = $t->http($method, $uri, port => $port, headers => {
        'User-Agent' => 'Grafana/12.1.0', 'Accept-Encoding' => 'gzip',
        $method eq 'POST'
            ? ('Content-Type' => 'application/x-www-form-urlencoded') : (),
        %headers }, $method eq 'POST' ? (body => $form) : ());
    if (($r->{headers}{'content-encoding'} || '') eq 'gzip') {
        my $out;
        gunzip(\$r->{body}, \$out) or die 'gunzip';
        $r->{body} = $out;
        $r->{gzip} = 1;
    }
    $r->{json} = eval { JSON::PP->new->utf8->decode($r->{body}) };
    return $r;
}

# POST first; where that is refused, GET, as the data source does.
sub call_either {
    my ($port, $path, $params) = @_;
    my $r = call($port, 'POST', $path, $params);
    return $r unless $r->{status} == 405 || $r->{status} == 400;
    $r = call($port, 'GET', $path, $params);
    $r->{retried} = 1;
    return $r;
}

# The same of every server; data is what is expected, or a check of it.
sub script {
    my ($what, $method, $path, $params, $want, @only) = @_;
    my $ours;
    for my $port (@only ? @only : @server) {
        my $r = $method eq 'EITHER' ? call_either($port, $path, $params)
            : call($port, $method, $path, $params);
        my $name = $port eq 'http' ? $what : "$what (Prometheus)";
        is($r->{status}, 200, $name) or diag($r->{body});
        is($r->{json}{status}, 'success', 'success');
        like($r->{headers}{'content-type'}, qr{^application/json}, 'JSON');
        ref $want eq 'CODE' ? $want->($r->{json}{data}, $r)
            : is_deeply($r->{json}{data}, $want, 'the answer');
        $ours ||= $r;
    }
    return $ours;
}

# ---- "Save & test" ----

script('health check', 'POST', 'query', { query => '1+1', time => '4' },
    { resultType => 'scalar', result => [4, '2'] });
script('health check of a data source set to GET', 'GET', 'query',
    { query => '1+1', time => '4' },
    { resultType => 'scalar', result => [4, '2'] });
script('what kind of Prometheus it is', 'GET', 'status/buildinfo', {}, sub {
    my ($data) = @_;
    like($data->{version}, qr/^\d+\.\d+\.\d+/, 'a version');
    my ($major, $minor) = split /\./, $data->{version};
    cmp_ok($major * 1000 + $minor, '>=', 2024,
        'new enough for match[] on labels');
    ok(!exists $data->{features}, 'no features: it would be taken for Mimir');
});

# ---- the editor: metrics, labels, values ----

my %when = (start => $from, end => $to);
my %limit = (limit => 40000);

# Prometheus shows that of its own targets only
script('metadata', 'GET', 'metadata', { %limit }, { http_requests_total =>
    [{ type => 'counter', help => 'Requests so far.', unit => '' }] }, 'http');
script('rules', 'GET', 'rules', {}, { groups => [] });
script('alerts', 'GET', 'alerts', {}, { alerts => [] });
script('metrics', 'GET', 'label/__name__/values', { %when, %limit },
    [sort qw(http_requests_total temperature lat_bucket http.requests up)]);
script('labels', 'EITHER', 'labels', { %when, %limit },
    [sort qw(__name__ job instance code room le http.status)]);
script('labels of a metric', 'EITHER', 'labels', { %when, %limit,
    'match[]' => '{__name__="temperature"}' },
    [sort qw(__name__ job instance room)]);
script('labels of several selectors', 'EITHER', 'labels', { %when, %limit,
    'match[]' => ['{__name__="temperature"}', '{__name__="lat_bucket"}'] },
    [sort qw(__name__ job instance room le)]);
script('values of a label', 'GET', 'label/room/values', { %when, %limit },
    [qw(r0 r1 r2)]);
script('label_values(metric, label) of a variable', 'GET', 'label/code/values',
    { %when, 'match[]' => 'http_requests_total{code=~"[12].*"}' },
    [qw(100 200)]);
script('values of a metric with another filter', 'GET', 'label/room/values',
    { %when, %limit, 'match[]' => '{__name__="temperature",room!="r1"}' },
    [qw(r0 r2)]);
script('metrics that begin so', 'GET', 'label/__name__/values', { %when,
    %limit, 'match[]' => '{__name__=~"(?i:.*REQUEST.*)"}' },
    [qw(http.requests http_requests_total)]);
# Prometheus 3.5 takes any two
script('one too many', 'GET', 'label/__name__/values', { %when, limit => 2 },
    sub {
        my ($data, $r) = @_;
        is_deeply($data, [qw(http.requests http_requests_total)],
            'the first ones');
        is_deeply($r->{json}{warnings}, ['results truncated due to limit'],
            'with a warning');
    }, 'http');
script('values of a label that is UTF-8', 'GET',
    'label/U__http_2e_status/values', { %when, %limit,
        'match[]' => '{"http.requests"}' }, ["caf\x{e9}"]);
script('labels of a metric that is UTF-8', 'EITHER', 'labels', { %when,
    'match[]' => '{__name__="http.requests"}' },
    [sort qw(__name__ job http.status)]);
script('series instead of labels', 'EITHER', 'series', { %when, %limit,
    'match[]' => '{__name__!=""}' }, sub {
        my ($data) = @_;
        my $c = JSON::PP->new->canonical;
        is_deeply([sort map { $c->encode($_) } @$data],
            [sort map { $c->encode($_->[0]) } @all], 'all of them');
    });
script('series of a selector', 'EITHER', 'series', { %when,
    'match[]' => 'temperature{room="r2"}' },
    [{ __name__ => 'temperature', %labels, room => 'r2' }]);

# a data source set to POST that asks what is GET only, and one that is wrong
for my $port (@server) {
    my $r = call($port, 'POST', 'label/room/values', { %when });
    is($r->{status}, 405, 'values by POST: 405');
    $r = call_either($port, 'label/room/values', { %when });
    is_deeply($r->{json}{data}, [qw(r0 r1 r2)], 'which is asked again by GET');
    $r = call_either($port, 'series', { %when, 'match[]' => 'sum(' });
    ok($r->{retried}, 'an error is asked again, too');
    is($r->{status}, 400, 'and is one still');
    like($r->{json}{error}, qr/parse error/, 'with its reason');
    is($r->{json}{errorType}, 'bad_data', 'and its kind');
}

# ---- exemplars: are there any?  The times are milliseconds ----

script('exemplar probe', 'GET', 'query_exemplars', { query => 'test',
    start => int(time() - 1800) * 1000, end => int(time()) * 1000 }, []);
script('exemplars of a panel', 'POST', 'query_exemplars', {
    query => 'sum by (code) (rate(http_requests_total[1m]))', %when },
    [{ seriesLabels => $all[0][0], exemplars => [{
        labels => { trace_id => 'abc' }, value => '0.25',
        timestamp => $to - 60 + 0.005 }] }]);

# ---- panels ----

my $c = JSON::PP->new->canonical;

sub points {
    my ($r) = @_;
    return { map { $c->encode($_->{metric}) => $_->{values} }
        @{$r->{json}{data}{result}} };
}

# The raw text of each series' points, so that a digit more is seen.
sub raw_points {
    my ($r) = @_;
    my %p;
    while ($r->{body} =~ /\{"metric":(\{.*?\}),"values":\[(.*?\])\]\}/g) {
        my ($m, $values) = ($1, $2);
        $p{$m} = { map { /^\[([\d.]+),(".*")\]$/ ? ($1 => $2) : () }
            split /(?<=\]),(?=\[)/, $values };
    }
    return \%p;
}

my @panels = (
    'sum by (code) (rate(http_requests_total[1m]))',
    'avg(temperature)',
    'histogram_quantile(0.9, sum by (le) (rate(lat_bucket[2m])))',
    'stddev_over_time(temperature[5m])',
    'max_over_time(avg(temperature)[5m:30s])',
    '{"http.requests"}',
    'topk(1, temperature)',
    'predict_linear(temperature[4m], 600)',
    'temperature - temperature offset 2m',
);
for my $expr (@panels) {
    # a dashboard of the last 30 minutes, then half a minute later
    for my $s (15, 30, 7.5) {
        my $align = sub { int($_[0] / $s) * $s };
        my ($a, $b) = map { $align->($_) } $to - 1800 - 30, $to - 30;
        my $first = call('http', 'POST', 'query_range', { query => $expr,
            start => $a, end => $b, step => $s });
        is($first->{status}, 200, "panel $expr, step $s") or next;
        my ($a2, $b2) = map { $align->($_) } $to - 1800, $to;
        my $full = call('http', 'POST', 'query_range', { query => $expr,
            start => $a2, end => $b2, step => $s });
        # what Grafana asks instead: the new part, and some of the old
        my $tail = call('http', 'POST', 'query_range', { query => $expr,
            start => $align->($b - $overlap), end => $b2, step => $s });
        my ($f, $g, $h) = map { raw_points($_) } $first, $full, $tail;
        my ($same, $bad) = (0, '');
        for my $m (keys %$g) {
            for my $at (keys %{$g->{$m}}) {
                for my $part ([$f, $a, $b], [$h, $align->($b - $overlap), $b2]) {
                    my ($p, $lo, $hi) = @$part;
                    next if $at < $lo || $at > $hi;
                    my $v = $p->{$m}{$at};
                    defined $v && $v eq $g->{$m}{$at} ? $same++
                        : ($bad = "$m at $at: " . ($v || 'none')
                            . ", not $g->{$m}{$at}");
                }
            }
        }
        is($bad, '', 'the tail and the older answer are parts of the whole');
        cmp_ok($same, '>', 2400 / $s / 2, "$same points");
        is(scalar keys %$h, scalar keys %$g, 'of as many series')
            unless $expr =~ /^topk/;
    }
}

script('a panel', 'POST', 'query_range', { query => 'temperature{room="r0"}',
    start => "$from.0", end => $from + 60, step => '15' }, sub {
    my ($data, $r) = @_;
    is($data->{resultType}, 'matrix', 'a matrix');
    is_deeply([map { $_->[0] } @{$data->{result}[0]{values}}],
        [map { $from + 15 * $_ } 0 .. 4], 'at the steps');
    like($r->{body}, qr/^\{"status":"success","data":\{"resultType":"matrix",
        "result":\[\{"metric":\{[^}]*\},"values":\[\[\d+,"[^"]+"\]/x,
        'with its parts in the order in which Grafana reads them');
});
script('with a fraction as step', 'GET', 'query_range', { query => 'up',
    start => $from, end => "@{[$from + 1]}", step => '0.25' }, sub {
    is(scalar @{$_[0]{result}[0]{values}}, 5, 'all steps') });
script('a table', 'POST', 'query', { query => 'temperature{room="r0"}',
    time => $from }, { resultType => 'vector', result => [
    { metric => { __name__ => 'temperature', %labels, room => 'r0' },
        value => [$from, '20'] }] });
script('a notice', 'POST', 'query_range', { query => 'rate(temperature[1m])',
    start => $from, end => $from + 60, step => 15 }, sub {
    my ($data, $r) = @_;
    is_deeply($r->{json}{infos}, ['PromQL info: metric might not be a counter, '
        . 'name does not end in _total/_sum/_count/_bucket: "temperature" '
        . '(1:6)'], 'is an info') });
script('an annotation', 'POST', 'query_range', { query => 'changes(up[1m]) > 0',
    start => $from, end => $to, step => 60 },
    { resultType => 'matrix', result => [] });
script('query_result() of a variable', 'POST', 'query', {
    query => 'count by (room) (temperature)', time => $to }, sub {
    is_deeply([sort map { $_->{metric}{room} } @{$_[0]{result}}],
        [qw(r0 r1 r2)], 'rooms') });

for my $port (@server) {
    my $r = call($port, 'POST', 'query_range', { query => 'sum(', %when,
        step => 15 });
    is($r->{status}, 400, 'a wrong query');
    is($r->{json}{error}, 'invalid parameter "query": 1:5: parse error: '
        . 'unclosed left parenthesis', 'says what Grafana shows');
    $r = call($port, 'POST', 'query_range', { query => 'up', start => 0,
        end => $to, step => 15 });
    is($r->{status}, 400, 'too many points');
    like($r->{json}{error}, qr/^exceeded maximum resolution of 11,000 points/,
        'says so');
}
my $r = call('http', 'POST', 'query_range', { query => 'temperature', %when,
    step => 15 });
ok($r->{gzip}, 'answers are compressed by nginx');
is(scalar @{$r->{json}{data}{result}}, 3, 'and whole');
$t->done();
