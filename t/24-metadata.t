#!/usr/bin/perl
# Metadata of metrics: written by remote_write 1.0 and 2.0, shown, and kept:
# over reload, kill -9, loss of the head, and after the logs are gone.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Side qw(meta1 series1 send2);
use Nightlight::Test;

binmode $_, ':utf8' for Test::More->builder->output,
    Test::More->builder->failure_output;

my $t = Nightlight::Test->new();
my $now = int(time()) * 1000;
$t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/,
    qr/METADATA.* set aside/);
$t->write_conf(store => 'memory=48m retention=1d wal_sync=always');
$t->run();

# "name=type/help/unit ..."
sub all {
    my (%p) = @_;
    my $r = $t->api('metadata', %p);
    return "status $r->{code}" unless $r->{status};
    return join ' ', map { my $n = $_; map { "$n=$_->{type}/$_->{help}/$_->{unit}" }
        @{$r->{data}{$n}} } sort keys %{$r->{data}};
}

sub metric { my ($name) = @_;
    my ($v) = $t->http('GET', '/metrics')->{body} =~ /^\Q$name\E (\S+)/m;
    return $v }

is($t->http('GET', '/api/v1/metadata')->{body},
    '{"status":"success","data":{}}', 'none yet');

# ---- 1.0 ----

is($t->write_pb(series1({ __name__ => 'b_total' }, [$now, 1])
    . meta1('b_total', 1, "<B> \"&\xc3\xa9\n", '') . meta1('a', 2, 'A.', 's')
    . meta1('odd', 200, '', '') . meta1('h', 3, '', 'bytes'))->{status}, 204,
    'metadata of 1.0');
my $r = $t->http('GET', '/api/v1/metadata');
is($r->{status}, 200, 'metadata');
is($r->{headers}{'content-type'}, 'application/json', 'its type');
is($r->{body}, '{"status":"success","data":{'
    . '"a":[{"type":"gauge","help":"A.","unit":"s"}],'
    . '"b_total":[{"type":"counter","help":"\u003cB\u003e \"\u0026' . "\xc3\xa9"
    . '\n","unit":""}],'
    . '"h":[{"type":"histogram","help":"","unit":"bytes"}],'
    . '"odd":[{"type":"unknown","help":"","unit":""}]}}', 'byte for byte');
is($t->write_pb(meta1('z', 7, 'Only metadata.', ''))->{status}, 204,
    'a request of metadata alone');
is(all(metric => 'z'), 'z=stateset/Only metadata./', 'is taken');

# ---- parameters ----

is(all(metric => 'a'), 'a=gauge/A./s', 'metric=');
is(all(metric => 'none'), '', 'metric= that is not there');
is(all(limit => 2, limit_per_metric => 1), 'a=gauge/A./s b_total=counter/'
    . "<B> \"&\x{e9}\n/", 'limit=2: the first by name');
is(all(limit => 0), '', 'limit=0: none, as in Prometheus');
is(all(limit => -1, metric => 'a'), 'a=gauge/A./s', 'limit=-1: all');
for (['limit=x', 'limit'], ['limit=1.5', 'limit'],
    ['limit_per_metric=x', 'limit_per_metric'],
    ['limit=x&limit_per_metric=x', 'limit'])
{
    $r = $t->http('GET', "/api/v1/metadata?$_->[0]");
    is($r->{status}, 400, $_->[0]);
    is($r->{body}, '{"status":"error","errorType":"bad_data","error":"'
        . "$_->[1] must be a number\"}", 'text');
}
$r = $t->http('POST', '/api/v1/metadata');
is($r->{status}, 405, 'POST');

# ---- 2.0 ----

$r = send2($t,
    [{ __name__ => 'a' }, [[$now, 1]], [], [1, 'New A.', '']],
    [{ __name__ => 'lat_bucket', le => '1' }, [[$now, 1]], [],
        [3, 'Latency.', 'seconds']],
    [{ __name__ => 'lat_sum' }, [[$now, 1]], [], [3, 'Latency.', 'seconds']],
    [{ __name__ => 'lat_count' }, [[$now, 1]], [], [3, 'Latency.', 'seconds']],
    [{ __name__ => 'q_sum' }, [[$now, 1]], [], [5, 'Q.', '']],
    [{ __name__ => 'x_sum' }, [[$now, 1]], [], [2, 'A gauge.', '']],
    [{ __name__ => 'h' }, [[$now, 1]]]);
is($r->{status}, 204, 'metadata of 2.0');
my $known = "a=counter/New A./ b_total=counter/<B> \"&\x{e9}\n/ "
    . 'h=histogram//bytes lat=histogram/Latency./seconds odd=unknown// '
    . 'q=summary/Q./ x_sum=gauge/A gauge./ z=stateset/Only metadata./';
is(all(), $known, 'the newest of each family; none takes nothing away');
is(metric('nightlight_metadata_families'), 8, 'eight families');
my $updates = metric('nightlight_metadata_updates_total');
my $wal = metric('nightlight_wal_bytes_total');
send2($t, [{ __name__ => 'a' }, [[$now, 1]], [], [1, 'New A.', '']]);
my $one = metric('nightlight_wal_bytes_total') - $wal;
send2($t, [{ __name__ => 'a' }, [[$now, 1]]]);
is(metric('nightlight_wal_bytes_total') - $wal, 2 * $one,
    'what is known already is not logged');
is(metric('nightlight_metadata_updates_total'), $updates, 'nor counted');
is($t->write_pb(meta1("bad\xff", 1, '', '') . meta1('', 1, 'no name', '')
    . meta1('long', 1, 'x' x 20_000, ''))->{status}, 204, '1.0: what is none');
is(all(), $known, 'is not kept');
is(metric('nightlight_metadata_refused_total'), 3, 'and counted');

# ---- life ----

$t->reload();
is(all(), $known, 'reload');
$t->kill9_all();
$t->run();
is(all(), $known, 'everything dies');
$t->kill9_all();
unlink glob "$t->{dir}/head/*";
$t->run();
is(all(), $known, 'the head is lost: the log has it');
ok(!-e "$t->{dir}/store/METADATA", 'no file yet');
$t->http('POST', '/-/flush');
ok($t->wait_for(sub { $t->log_lines(qr/is in \d+ blocks/) }, 'blocks', 30),
    'the log goes');
ok(-s "$t->{dir}/store/METADATA", 'before that there is a file');
$t->kill9_all();
unlink glob "$t->{dir}/head/*";
my $inspect = $ENV{TEST_NIGHTLIGHT_INSPECT} || 'build/nightlight-inspect';
my $said = `$inspect $t->{dir}/store 2>&1`;
like($said, qr/^metadata\n  8 families$/m, 'nightlight-inspect says what it has');
$t->run();
is(all(), $known, 'the head is lost: the file has it');

# ---- a damaged file ----

$t->kill9_all();
unlink glob "$t->{dir}/head/*";
my $file = $t->read_file('store/METADATA');
$file =~ s/family 0 gauge/family 0 counter/;
$t->write_file('store/METADATA', $file);
like(`$inspect $t->{dir}/store 2>&1`, qr/CORRUPT: METADATA line \d+: wrong/,
    'nightlight-inspect finds damage');
$t->run();
is(all(), '', 'nothing is believed');
ok(-s "$t->{dir}/store/quarantine/METADATA", 'it is set aside');
is($t->value('count(x_sum)'), 1, 'and the store works');
send2($t, [{ __name__ => 'x_sum' }, [[$now, 1]], [], [2, 'A gauge.', '']]);
is(all(), 'x_sum=gauge/A gauge./', 'and senders say it again');

$t->done();
