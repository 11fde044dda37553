#!/usr/bin/perl
# Real senders and readers with client certificates, through
# examples/mtls.conf.  Each begins with a certificate that has expired: it is
# told why, keeps its samples, and when the files are renewed, without a
# restart of anything, all of them arrive.
#
# TEST_PROMETHEUS35 and TEST_PROMTOOL35 name newer ones beside those of PATH,
# TEST_VMAGENT a vmagent.
use strict;
use warnings;
use JSON::PP;
use Test::More;
use Nightlight::Test;
use Nightlight::TLS;
use Nightlight::Peers qw(peer peers version ask capture ready prometheus);

my $x = Nightlight::TLS->new();
my @prometheus = peers($x, 'prometheus');
my $vmagent = peer($x, 'vmagent');
plan(skip_all => 'no prometheus and no vmagent') unless @prometheus || $vmagent;
my $tls = $x->dir . '/tls';

sub utc { my @t = gmtime(time() + $_[0]);
    return sprintf '%04d%02d%02d%02d%02d%02dZ', $t[5] + 1900, $t[4] + 1,
        @t[3, 2, 1, 0] }
$x->ca('START=' . utc(-7200), 'END=' . utc(-60), 'client', 'write', 'expired');

# The files of a sender, those of a client: by rename, as who renews does.
sub install {
    my ($sender, $client) = @_;
    for my $ext (qw(crt key)) {
        $x->write_file("tls/$sender.$ext.new", $x->read_file("tls/$client.$ext"));
        rename "$tls/$sender.$ext.new", "$tls/$sender.$ext" or die;
    }
}

# Value of an instant query of the reader, undef if it is empty.
sub read_value {
    my ($query) = @_;
    my $r = $x->as('reader', 'read', '/api/v1/query?query='
        . Nightlight::Test::escape($query));
    my $json = eval { decode_json($r->{body}) } or return;
    return $json->{data}{result}[0] && $json->{data}{result}[0]{value}[1];
}

# Times of the samples of a series, in ms.
sub sample_times {
    my ($json) = @_;
    return map { sprintf '%.0f', $_->[0] * 1000 }
        map { @{$_->{values}} } @{$json->{data}{result}};
}

$x->run();
my $url = 'https://127.0.0.1:' . $x->port('write') . '/api/v1/write';
my $target = '127.0.0.1:' . $x->port('http');

for my $prom (@prometheus) {
    my $v = version($prom);
    (my $name = "prom$v") =~ s/\W/_/g;
    install($name, 'expired');
    ok(prometheus($x, $prom, $name, <<"EOF"), "Prometheus $v runs");
global: {scrape_interval: 1s, external_labels: {sender: $name}}
scrape_configs:
- job_name: nightlight
  static_configs: [{targets: ['$target']}]
remote_write:
- url: $url
  queue_config: {batch_send_deadline: 100ms, max_shards: 2, max_backoff: 1s}
  tls_config: {ca_file: $tls/server-ca.crt, cert_file: $tls/$name.crt, key_file: $tls/$name.key}
EOF
    my $log = 'logs/prometheus.log';
    ok($x->wait_for(sub { $x->read_file($log)
        =~ /503 [A-Za-z ]+: client certificate: FAILED:certificate has expired/
        }, 'its complaint', 30), "$v: its log says what is wrong")
        or diag($x->read_file($log));
    # some scrapes more that are kept
    $x->wait_for(sub { (ask($x, $name, 'query',
        query => 'count_over_time(up[1m])')->{data}{result}[0]{value}[1] || 0)
        >= 3 }, 'scrapes');
    is(read_value("count({sender=\"$name\"})"), undef, "$v: nothing has come");
    my $end = time() + 1;
    install($name, 'writer');
    ok($x->wait_for(sub { (read_value("timestamp(up{sender=\"$name\"})") || 0)
        > $end }, 'samples', 40), "$v: with a new certificate they come")
        or diag($x->read_file($log), $x->log_lines(qr/certificate/));
    my @there = sample_times(ask($x, $name, 'query', query => 'up[1m]',
        time => $end));
    my @here = sample_times(decode_json($x->as('reader', 'read',
        "/api/v1/query?time=$end&query=" . Nightlight::Test::escape(
        "up{sender=\"$name\"}[1m]"))->{body}));
    cmp_ok(scalar @there, '>=', 3, "$v: samples of before and after");
    is("@here", "@there", "$v: and none is missing");
    cmp_ok(read_value("count({sender=\"$name\"})"), '>', 50,
        "$v: all series of a scrape");
    $x->write_file($log, '');
}
if (@prometheus) {
    like($x->read_file('access.log'), qr{"POST /api/v1/write HTTP/\S+" 503 TLSv1\.3 FAILED:certificate has expired "CN=expired,O=Try Nightlight"},
        'Prometheus comes by TLS 1.3');
    like($x->read_file('access.log'), qr{"POST /api/v1/write HTTP/\S+" 204 TLSv1\.3 SUCCESS "CN=writer,O=Try Nightlight"},
        'also when it is let in');
}

SKIP: {
    skip 'no vmagent: TEST_VMAGENT names one', 7 unless $vmagent;
    install('vmagent', 'expired');
    $x->write_file('scrape.yml', <<"EOF");
scrape_configs:
- job_name: nightlight
  scrape_interval: 1s
  static_configs: [{targets: ['$target'], labels: {sender: vmagent}}]
EOF
    my $help = join '', capture($x, [$vmagent, '-help']);
    my @retry = map { $help =~ /-remoteWrite\.$_->[0] /
        ? "-remoteWrite.$_->[0]=$_->[1]" : () }
        ['retryMinInterval', '100ms'], ['retryMaxInterval', '1s'];
    $x->spawn($vmagent, "-remoteWrite.url=$url", '-remoteWrite.flushInterval=200ms',
        '-remoteWrite.tmpDataPath=' . $x->dir . '/vmagent',
        "-remoteWrite.tlsCAFile=$tls/server-ca.crt",
        "-remoteWrite.tlsCertFile=$tls/vmagent.crt",
        "-remoteWrite.tlsKeyFile=$tls/vmagent.key",
        '-promscrape.config=' . $x->dir . '/scrape.yml', @retry,
        '-httpListenAddr=127.0.0.1:' . $x->port('vmagent'));
    ok(ready($x, 'vmagent', '/health'), 'vmagent runs')
        or diag($x->read_file('logs/vmagent.log'));
    my $log = 'logs/vmagent.log';
    ok($x->wait_for(sub { $x->read_file($log)
        =~ /503.*client certificate: FAILED:certificate has expired/s },
        'its complaint', 30), 'vmagent: its log says what is wrong')
        or diag($x->read_file($log));
    my $since = time();
    $x->wait_for(sub { time() > $since + 1 && $x->http('GET', '/metrics',
        port => 'vmagent')->{body} =~ /^vm_promscrape_scrapes_total\{.*200.*\} (\d+)/m
        && $1 >= 3 }, 'scrapes');
    is(read_value('count({sender="vmagent"})'), undef,
        'vmagent: nothing has come');
    my $renewed = time() + 1;
    install('vmagent', 'writer');
    ok($x->wait_for(sub { (read_value('count_over_time(up{sender="vmagent"}[1m])')
        || 0) >= 5 }, 'samples', 40), 'vmagent: with a new certificate they come')
        or diag($x->read_file($log));
    # its queues send beside each other: one may be behind
    my (@here, @gaps);
    ok($x->wait_for(sub {
        @here = sample_times(decode_json($x->as('reader', 'read',
            '/api/v1/query?query=' . Nightlight::Test::escape(
            'up{sender="vmagent"}[1m]'))->{body}));
        @gaps = grep { $here[$_] - $here[$_ - 1] > 1900 } 1 .. $#here;
        return !@gaps;
    }, 'what is between'), 'vmagent: and none is missing') or diag("@here");
    cmp_ok($here[0], '<', ($renewed - 1) * 1000,
        'vmagent: also those of before');
    like($x->read_file('access.log'), qr{"POST /api/v1/write HTTP/1\.1" 204 TLSv1\.3 SUCCESS "CN=writer,O=Try Nightlight"},
        'vmagent comes by HTTP/1.1');
}

# ---- reading ----

my ($promtool) = grep { (capture($x, [$_, 'query', 'instant', '--help']))[1]
    =~ /--http\.config\.file/ } peers($x, 'promtool');
SKIP: {
    skip 'no promtool with --http.config.file: TEST_PROMTOOL35 names one', 4
        unless $promtool;
    $x->write_file("$_.http.yml", <<"EOF") for qw(reader writer);
tls_config: {ca_file: $tls/server-ca.crt, cert_file: $tls/$_.crt, key_file: $tls/$_.key}
EOF
    my $server = 'https://127.0.0.1:' . $x->port('read');
    my @as = map { '--http.config.file=' . $x->dir . "/$_.http.yml" }
        qw(reader writer);
    my ($code, $out, $err) = capture($x, [$promtool, 'query', 'instant', $as[0],
        $server, 'min(up) + 41']);
    is($code, 0, 'promtool reads') or diag($err);
    like($out, qr/=> 42 @/, 'with an answer');
    ($code, $out, $err) = capture($x, [$promtool, 'query', 'instant', $as[1],
        $server, 'min(up)']);
    isnt($code, 0, 'promtool with a certificate for writing does not');
    like("$out$err", qr/400/, 'and says so');
}

is($x->metric('nightlight_write_requests_refused_total'), '0',
    'no request was refused but for its certificate');
$x->done();
