#!/usr/bin/perl
# Exemplars: written by remote_write 1.0 and 2.0, queried, and what they
# survive: reload, another size, kill -9, loss of the head, flush.
use strict;
use warnings;
no warnings 'portable';
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Side qw(exemplar1 series1 send2);
use Nightlight::Test;

binmode $_, ':utf8' for Test::More->builder->output,
    Test::More->builder->failure_output;

my $t = Nightlight::Test->new();
my $store = 'memory=48m retention=1d wal_sync=always';
my $now = int(time()) * 1000;
$t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/);

sub conf { my ($params) = @_;
    $t->write_conf(store => "$store " . ($params || 'exemplars=1m')) }

sub s3 { my ($ms) = @_; return sprintf '%d.%03d', $ms / 1000, $ms % 1000 }

# All of m as "trace=value@age ..." by series.
sub all {
    my (%p) = @_;
    my $r = $t->api('query_exemplars', query => '{__name__=~".+"}', %p);
    return "status $r->{code}" unless $r->{status};
    return join '; ', map { my $s = $_;
        "$s->{seriesLabels}{__name__}: " . join ' ', map {
            my $x = $_;
            ($x->{labels}{trace_id} // '-') . "=$x->{value}@"
            . sprintf('%.0f', $now / 1000 - $x->{timestamp}) }
            @{$s->{exemplars}} } @{$r->{data}};
}

sub metric { my ($name) = @_;
    my ($v) = $t->http('GET', '/metrics')->{body} =~ /^\Q$name\E (\S+)/m;
    return $v }

conf();
$t->run();

# ---- 1.0 ----

is($t->write_pb(series1({ __name__ => 'b', job => "j\"<\x{e9}" }, [$now, 1],
    exemplar1({ trace_id => 'x', span => "<&>\x{e9}" }, 0.25, $now - 5000),
    exemplar1({}, '1e300', $now - 4567)))->{status}, 204, 'exemplars of 1.0');
my $r = $t->http('GET', '/api/v1/query_exemplars?query=b');
is($r->{status}, 200, 'query');
is($r->{body}, '{"status":"success","data":[{"seriesLabels":{"__name__":"b",'
    . "\"job\":\"j\\\"<\xc3\xa9\"},\"exemplars\":[{\"labels\":{\"span\":"
    . "\"<&>\xc3\xa9\",\"trace_id\":\"x\"},\"value\":\"0.25\",\"timestamp\":"
    . ($now - 5000) / 1000 . '},{"labels":{},"value":"1e+300","timestamp":'
    . s3($now - 4567) . '}]}]}', 'byte for byte');
is($r->{headers}{'content-type'}, 'application/json', 'and its type');
is(all(start => s3($now - 5000), end => s3($now - 5000)), 'b: x=0.25@5',
    'both ends count');
is(all(start => s3($now - 4999), end => s3($now - 4568)), '', 'none between');

# ---- 2.0 ----

$r = send2($t, [{ __name__ => 'a' }, [[$now, 1]],
    [[{ trace_id => 'n' }, \pack('Q<', 0x7ff8000000000001), $now - 3000],
     [{ trace_id => 'i' }, '-inf', $now - 2000],
     [{ trace_id => 'late' }, 1, $now - 60_000]]]);
is($r->{status}, 204, 'exemplars of 2.0, in no order');
is($r->{headers}{'x-prometheus-remote-write-exemplars-written'}, 3, 'written');
is($r->{headers}{'x-prometheus-remote-write-samples-written'}, 1, 'samples');
is(all(), 'a: late=1@60 n=NaN@3 i=-Inf@2; b: x=0.25@5 -=1e+300@5', 'sorted');
$r = send2($t, [{ __name__ => 'a' }, [[$now, 1]],
    [[{ trace_id => 'late' }, 1, $now - 60_000]]]);
is($r->{status}, 204, 'the same again');
is($r->{headers}{'x-prometheus-remote-write-exemplars-written'}, 1,
    'counts as written');
is(all(), 'a: late=1@60 n=NaN@3 i=-Inf@2; b: x=0.25@5 -=1e+300@5',
    'and is not there twice');
is(metric('nightlight_exemplars'), 5, 'five are kept');
is(metric('nightlight_exemplar_series'), 2, 'of two series');
is(metric('nightlight_exemplars_duplicate_total'), 1, 'one was there already');

# ---- what is not taken ----

$r = send2($t, [{ __name__ => 'c' }, [[$now, 1]],
    [[{ trace_id => 'x' x 121 }, 1, $now]]]);
is($r->{status}, 204, '129 characters: the request is fine');
is($r->{headers}{'x-prometheus-remote-write-exemplars-written'}, 0,
    'the exemplar is not written');
$r = send2($t, [{ __name__ => 'c' }, [[$now, 1]],
    [[{ trace_id => "\x{1f600}" x 120 }, 7, $now]]]);
is($r->{headers}{'x-prometheus-remote-write-exemplars-written'}, 1,
    '128 are taken, of four bytes each');
for my $bad ([$now + 700_000, 'more than 10 minutes ahead'],
    [$now - 2 * 86_400_000, 'older than the retention'])
{
    $r = send2($t, [{ __name__ => 'c' }, [[$now, 1]],
        [[{ trace_id => 'bad' }, 1, $bad->[0]]]]);
    is($r->{status}, 400, "2.0: $bad->[1]");
    is($r->{headers}{'x-prometheus-remote-write-samples-written'}, 1,
        'the sample is written');
    is($r->{headers}{'x-prometheus-remote-write-exemplars-written'}, 0,
        'the exemplar is not');
    is($t->write_pb(series1({ __name__ => 'c' }, [$now, 1],
        exemplar1({ trace_id => 'bad' }, 1, $bad->[0])))->{status}, 204,
        "1.0: $bad->[1]");
}
$r = send2($t, [{ __name__ => 'c' }, [[$now, 1]],
    [[[['a', 1], ['a', 2]], 1, $now]]]);
is($r->{status}, 400, 'a label twice');
unlike(all(), qr/bad/, 'none of them is there');
cmp_ok(metric('nightlight_exemplars_refused_total'), '>=', 6, 'all are counted');

# ---- queries ----

sub names { my ($q, %p) = @_;
    my $r = $t->api('query_exemplars', query => $q, %p);
    return join ' ', map { $_->{seriesLabels}{__name__} } @{$r->{data}} }

is(names('rate(b[5m]) + on () group_left sum(a offset 5m) or (vector(1))'),
    'a b', 'every selector of an expression');
is(names('histogram_quantile(0.9, sum by (le) (rate(b{job!="x"}[1m])))'), 'b',
    'inside of calls');
is(names('topk(scalar(a), b) > bool 1'), 'a b', 'parameters of aggregations');
is(names('max_over_time(b[1h:1m])'), 'b', 'subqueries');
is(names('{__name__=~"a|b",job=""}'), 'a', 'matchers');
is(names('none'), '', 'none');
is(names('a', start => $now, end => $now + 1000), '',
    'milliseconds instead of seconds, as Grafana probes');
is($t->api_post('query_exemplars', query => 'a')->{data}[0]{seriesLabels}
    {__name__}, 'a', 'POST');
is($t->http('GET', '/api/v1/query_exemplars?query=1')->{status}, 204,
    'no selector: 204');
for (['query=', qr/"1:1: parse error: no expression|unknown position: parse error: no expression found in input"/],
    ['query=a{', qr/"errorType":"bad_data","error":"1:3: parse error:/],
    ['query=a&start=x', qr/invalid parameter \\"start\\": invalid time value for 'start': cannot parse \\"x\\" to a valid timestamp/],
    ['query=a&start=5&end=4', qr/"error":"end timestamp must not be before start timestamp"/])
{
    $r = $t->http('GET', "/api/v1/query_exemplars?$_->[0]");
    is($r->{status}, 400, $_->[0]);
    like($r->{body}, $_->[1], 'text');
}

# ---- life ----

my $known = all();
like($known, qr/a: late/, 'something to keep');
$t->reload();
is(all(), $known, 'reload');
$t->kill9_worker();
ok($t->wait_for(sub { (eval { all() } // '') eq $known }, 'worker'),
    'a worker dies');
$t->kill9_all();
$t->run();
is(all(), $known, 'everything dies');
$t->kill9_all();
unlink glob "$t->{dir}/head/*";
$t->run();
is(all(), $known, 'the head is lost: the log has them');
is($t->http('POST', '/-/flush')->{status}, 204, 'flush');
ok($t->wait_for(sub { $t->log_lines(qr/is in \d+ blocks/) }, 'blocks', 30),
    'the arena is in blocks');
is(all(), $known, 'a flush leaves them in memory');
send2($t, [{ __name__ => 'new' }, [[$now, 1]],
    [[{ trace_id => 'n' }, 2, $now - 1000]]]);
$t->kill9_all();
unlink glob "$t->{dir}/head/*";
$t->run();
is(all(), 'new: n=2@1', 'and takes them out of what a power loss keeps');

# ---- another size: the head is flushed, they move ----

$known = all();
conf('exemplars=512k');
$t->reload();
my $bytes = $t->wait_for(sub { my $n = metric('nightlight_exemplar_bytes');
    $n && $n < 524_288 && all() eq $known }, 'resized');
ok($bytes, 'another size keeps them');

# ---- off ----

conf('exemplars=off');
$t->reload();
ok($t->wait_for(sub { all() eq '' }, 'off'), 'off: none');
$r = send2($t, [{ __name__ => 'new' }, [[$now, 1]],
    [[{ trace_id => 'o' }, 2, $now]]]);
is($r->{status}, 204, 'off: accepted');
is($r->{headers}{'x-prometheus-remote-write-exemplars-written'}, 1,
    'and counted as written, as in Prometheus');
is(all(), '', 'and not kept');

# ---- more than there is room for ----

conf('exemplars=64k');
$t->reload();
ok($t->wait_for(sub { metric('nightlight_exemplar_bytes') }, 'on'), 'on again');
for my $i (0 .. 29) {
    send2($t, map { [{ __name__ => 'full', i => $_ }, [[$now, 1]],
        [[{ trace_id => "t$i-$_" }, $i, $now - 30_000 + $i]]] } 0 .. 29);
}
my $kept = metric('nightlight_exemplars');
cmp_ok($kept, '>', 100, 'many are kept');
cmp_ok($kept, '<', 900, 'not all');
cmp_ok(metric('nightlight_exemplar_bytes'), '<=', 65536, 'within the size');
is(metric('nightlight_exemplars_evicted_total') + $kept, 900,
    'the others made room');
my %oldest = map { map { ($_->{value} => 1) } @{$_->{exemplars}} }
    @{$t->api('query_exemplars', query => 'full')->{data}};
ok($oldest{29} && !$oldest{0}, 'the newest are there');

$t->done();
