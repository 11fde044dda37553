#!/usr/bin/perl
# The first five minutes: examples/nginx.conf as it stands.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

my $t = Nightlight::Test->new();
my $conf = $t->read_file("$Nightlight::Test::ROOT/examples/nginx.conf");

# its own port and directory; as root, workers that can reach the directory
my $port = $t->port('http');
like($conf, qr/listen 127\.0\.0\.1:9101;/, 'the example listens on 9101');
$conf =~ s/127\.0\.0\.1:9101/127.0.0.1:$port/g;
$conf =~ s{modules/ngx_http_nightlight_module\.so}{$t->{module}};
$conf =~ s/error_log  stderr warn;/error_log error.log info; daemon off;/;
$conf =~ s/path=store/path=store head=head/;
$conf = "user root;\n$conf" if $> == 0;
$t->write_file('nginx.conf', $conf);
$t->run();

is($t->http('GET', '/-/healthy')->{status}, 200, 'healthy');
is($t->http('GET', '/-/ready')->{status}, 200, 'ready');

my $result;
$t->wait_for(sub {
    $result = $t->query('nightlight_up')->{result};
    return @$result;
}, 'own metrics in the store') or diag($t->read_file('error.log'));
is_deeply($result->[0]{metric}, { __name__ => 'nightlight_up',
    instance => 'nginx', job => 'nightlight' }, 'labels of own metrics');
is($result->[0]{value}[1], '1', 'value of nightlight_up');

cmp_ok($t->query('nginx_http_requests_total')->{result}[0]{value}[1], '>', 0,
    'connection counters of nginx');

my $metrics = $t->http('GET', '/metrics');
is($metrics->{status}, 200, '/metrics');
like($metrics->{body}, qr/^# TYPE nightlight_samples_appended_total counter$/m,
    'text exposition');

# a second start finds the data again
my $before = $t->query('count_over_time(nightlight_up[1h])')
    ->{result}[0]{value}[1];
ok($t->stop(), 'stops cleanly');
$t->run();
cmp_ok($t->query('count_over_time(nightlight_up[1h])')->{result}[0]{value}[1],
    '>=', $before, 'data is there again');

$t->done();
