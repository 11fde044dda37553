#!/usr/bin/perl
# A real Prometheus sends what it scrapes by remote_write 2.0: every sample is
# here, bit for bit, and the sender knows it.  Then with native histograms,
# which are not stored yet: it is told so, and no float is lost.
#
# 2.0 is sent since 2.54: TEST_PROMETHEUS35 names a newer one than Debian's.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;

my $t = Nightlight::Test->new();
my $prometheus = $ENV{TEST_PROMETHEUS35};
plan(skip_all => 'TEST_PROMETHEUS35 is not set') unless $prometheus;

$t->write_conf(self => '1s');
$t->run();

my %at = map { $_ => '127.0.0.1:' . $t->port($_) } qw(http prom native);

sub prometheus {
    my ($name, $write, @args) = @_;
    $t->write_file("$name.yml", <<"EOF");
global:
  scrape_interval: 500ms
  scrape_timeout: 400ms
  external_labels: {sender: $name}
scrape_configs:
- job_name: prometheus
  static_configs: [{targets: ['$at{$name}'], labels: {zone: "caf\xc3\xa9"}}]
- job_name: nightlight
  static_configs: [{targets: ['$at{http}']}]
- job_name: down
  static_configs: [{targets: ['127.0.0.1:1']}]
remote_write:
- url: http://$at{http}/api/v1/write
  protobuf_message: io.prometheus.write.v2.Request
  queue_config: {batch_send_deadline: 100ms, max_shards: 2}
$write
EOF
    return $t->spawn($prometheus, '--config.file=' . $t->dir . "/$name.yml",
        '--storage.tsdb.path=' . $t->dir . "/$name",
        "--web.listen-address=$at{$name}", @args);
}

sub ask {
    my ($port, $query, %p) = @_;
    my $r = $t->http('GET', '/api/v1/query?'
        . Nightlight::Test::form(query => $query, %p), port => $port);
    my $json = eval { JSON::PP->new->utf8->decode($r->{body}) } || {};
    return $json->{data}{result} || [];
}

# Newest time to which all scrapes of a sender have arrived here.
sub newest {
    my ($sender) = @_;
    my @times = sort { $a <=> $b } map { $_->{value}[1] }
        @{ask('http', "timestamp(up{sender=\"$sender\"})")};
    return @times == 3 ? $times[0] : 0;
}

# Samples of a range by series, as text; without what a sender adds.
sub samples {
    my ($port, $selector, $time) = @_;
    my %s;
    for my $r (@{ask($port, $selector, time => $time)}) {
        my %l = %{$r->{metric}};
        delete $l{sender};
        $s{join ',', map { "$_=$l{$_}" } sort keys %l} =
            join ' ', map { "$_->[0]:$_->[1]" } @{$r->{values}};
    }
    return \%s;
}

sub compare {
    my ($sender) = @_;
    my $first = 0;
    $t->wait_for(sub { $first = newest($sender) }, 'first samples', 30)
        or diag($t->read_file('logs/prometheus.log'));
    $t->wait_for(sub { newest($sender) > $first + 4 }, 'samples', 30);
    my $time = $first + 3;
    my $here = samples('http', "{sender=\"$sender\"}[3s]", $time);
    my $there = samples($sender, '{job!=""}[3s]', $time);
    # histograms have no values
    delete $there->{$_} for grep { $there->{$_} eq '' } keys %$there;
    my @differ = grep { ($here->{$_} // '') ne ($there->{$_} // '') }
        keys %{{ %$here, %$there }};
    cmp_ok(scalar keys %$there, '>', 300, "$sender: "
        . keys(%$there) . ' series');
    is(scalar @differ, 0, "$sender: each has the same samples here") or diag(
        map { "$_\n  " . ($here->{$_} // '-') . "\n  "
            . ($there->{$_} // '-') . "\n" } @differ[0 .. 2]);
}

# A counter of the sender.
sub sender {
    my ($sender, $name) = @_;
    my $r = ask($sender, "sum($name)");
    return @$r ? $r->[0]{value}[1] : 0;
}

my $pid = prometheus('prom', '  metadata_config: {send: false}');
compare('prom');
is(sender('prom', 'prometheus_remote_storage_samples_failed_total'), 0,
    'the sender lost none');
cmp_ok(sender('prom', 'prometheus_remote_storage_samples_total'), '>', 1000,
    'it sent many');
my @status = map { m{"POST /api/v1/write HTTP/1.1" (\d+)} } split /\n/,
    $t->read_file('access.log');
cmp_ok(scalar @status, '>', 5, scalar(@status) . ' requests');
is(scalar(grep { $_ != 204 } @status), 0, 'all accepted');
unlike($t->read_file('logs/prometheus.log'),
    qr/level=(?:WARN|ERROR|warn|error).*(?:remote|write)/i,
    'the sender has nothing to complain about');
is($t->metric('nightlight_histograms_not_stored_total'), 0, 'no histograms');
kill 'KILL', $pid;
waitpid($pid, 0);

# ---- native histograms ----

prometheus('native', "  metadata_config: {send: false}\n"
    . '  send_native_histograms: true',
    '--enable-feature=native-histograms');
compare('native');
cmp_ok($t->metric('nightlight_histograms_not_stored_total'), '>', 0,
    'native histograms are counted');
cmp_ok($t->metric('nightlight_write_requests_partial_total'), '>', 0,
    'requests with them are taken in part');
like($t->read_file('logs/prometheus.log'),
    qr/native histograms are not stored yet/, 'the sender says why');
like($t->read_file('error.log'), qr/native histograms of a remote_write request/,
    'so does our log');

$t->done();
