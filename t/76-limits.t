#!/usr/bin/perl
# What a location limits, stamps and drops when series are written.
use strict;
use warnings;
use Test::More;
use IO::Select;
use Nightlight::Test;

*series_pb = \&Nightlight::Test::series_pb;
*snappy = \&Nightlight::Test::snappy;
*exchange = \&Nightlight::Test::exchange;

my $t = Nightlight::Test->new();

sub conf {
    my (%p) = @_;
    my $rate = $p{rate} || 1000;
    my $active = $p{active} || 50;
    $t->write_conf(
        http => <<'EOH',
    nightlight_limit_zone $http_x_key zone=keys:2m;
    nightlight_limit_zone all zone=all:64k;
    nightlight_limit_zone $http_x_key zone=tiny:64k;
    map $http_x_limit $limit_of { default $http_x_limit; none ""; }
    large_client_header_buffers 4 1m;
EOH
        locations => <<"EOL");
        location = /api/v1/write { nightlight_write main; }
        location = /rate {
            nightlight_write main;
            nightlight_limit_samples zone=keys rate=$rate/s window=1m;
        }
        location = /rate/dry {
            nightlight_write main;
            nightlight_limit_samples zone=keys rate=1 window=1m;
            nightlight_limit_dry_run on;
        }
        location = /rate/two {
            nightlight_write main;
            nightlight_limit_samples zone=keys rate=1000000;
            nightlight_limit_samples zone=all rate=1 window=1h;
        }
        location = /series {
            nightlight_write main;
            nightlight_limit_series zone=keys active=$active;
        }
        location = /created {
            nightlight_write main;
            nightlight_limit_series zone=keys created=20;
            nightlight_limit_series_status 400;
        }
        location = /series/204 {
            nightlight_write main;
            nightlight_limit_series zone=keys active=5;
            nightlight_limit_series_status 204;
        }
        location = /series/dry {
            nightlight_write main;
            nightlight_limit_series zone=keys active=5;
            nightlight_max_labels 3;
            nightlight_max_sample_age 1h;
            nightlight_drop '{__name__="dry_dropped"}';
            nightlight_limit_dry_run on;
        }
        location = /tenant/series {
            nightlight_write main;
            nightlight_tenant \$http_x_key;
            nightlight_limit_series active=20;
        }
        location /off/ {
            nightlight_limit_samples zone=tiny rate=1 window=1h;
            nightlight_limit_series zone=keys active=1;
            nightlight_drop '{__name__="dropped_here"}';
            nightlight_label who=outer;
            nightlight_max_sample_age 1h;
            location = /off/in { nightlight_write main; }
            location = /off/out {
                nightlight_write main;
                nightlight_limit_samples off;
                nightlight_limit_series off;
                nightlight_drop off;
                nightlight_label off;
                nightlight_max_sample_age off;
            }
            location = /off/own {
                nightlight_write main;
                nightlight_limit_samples off;
                nightlight_limit_series zone=keys active=3;
            }
        }
        location = /tiny {
            nightlight_write main;
            nightlight_limit_samples zone=tiny rate=1000 window=1m;
        }
        location = /stamp/max {
            nightlight_write main;
            nightlight_max_labels 3;
            nightlight_label one=1;
            nightlight_label two=\$http_x_key;
        }
        location = /age {
            nightlight_write main;
            nightlight_max_sample_age 1h;
            nightlight_max_sample_future 1m;
        }
        location /stamp {
            nightlight_label location=outer;
            nightlight_label who=\$http_x_key;
            nightlight_label secret=;
            location = /stamp/a { nightlight_write main; }
            location = /stamp/b {
                nightlight_write main;
                nightlight_label location=inner;
                nightlight_label a_first=1;
            }
        }
        location = /drop {
            nightlight_write main;
            nightlight_label stamped=yes;
            nightlight_drop '{__name__=~"go_.*",job="x"}' dropped_metric;
            nightlight_drop '{stamped="yes",debug=~".+"}';
            @{[$p{more_drop} || '']}
        }
        location = /value/samples {
            nightlight_write main;
            nightlight_limit_samples zone=keys rate=\$limit_of default=5/s window=1m;
        }
        location = /value/series {
            nightlight_write main;
            nightlight_limit_series zone=keys active=\$limit_of created=1000 default=3;
        }
        location = /value/request {
            nightlight_write main;
            nightlight_write_max_decoded \$limit_of;
            nightlight_max_labels \$http_x_labels;
        }
        location = /value/request/dry {
            nightlight_write main;
            nightlight_write_max_decoded 64k;
            nightlight_limit_dry_run on;
        }
        location /value/query/ {
            nightlight_query main;
            nightlight_query_max_samples \$http_x_samples;
            nightlight_query_max_series \$http_x_series;
            nightlight_query_memory \$http_x_memory;
            nightlight_query_timeout \$http_x_timeout;
        }
        location /dry/ {
            nightlight_query_max_samples 10 dry_run;
            nightlight_query_max_series \$http_x_series dry_run;
            nightlight_query_memory 64k dry_run;
            nightlight_query_timeout 1ms dry_run;
            nightlight_query_timeout 50s;
            location /dry/outer/ { nightlight_query main; }
            location /dry/inner/ {
                nightlight_query main;
                nightlight_query_max_samples 20;
            }
        }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOL
}

conf();
$t->run();
my $now = int(time()) * 1000;

sub many {
    my ($metric, $from, $to, $t_ms) = @_;
    return join '', map { series_pb({ __name__ => $metric, i => $_ },
        [$t_ms || $now, $_]) } $from .. $to;
}
sub send_to {
    my ($uri, $pb, $key, %p) = @_;
    my %h = defined $key ? ('X-Key' => $key) : ();
    $h{'X-Limit'} = delete $p{limit} if exists $p{limit};
    $h{'X-Labels'} = delete $p{labels} if exists $p{labels};
    return $t->write_pb($pb, uri => $uri, headers => \%h, %p);
}
sub n_of { my $r = $t->query("count($_[0])", time => $now / 1000 + 1)->{result};
    return @$r ? $r->[0]{value}[1] : 0 }
sub metric { $t->metric("nightlight_$_[0]_total") }

# ---- samples per second ----

my $r = send_to('/rate', many('rate', 1, 500), 'a');
is($r->{status}, 204, 'below the rate');
is($r->{headers}{'x-ratelimit-limit'}, 60000, 'limit of the window');
is($r->{headers}{'x-ratelimit-remaining'}, 59500, 'and what is left');
is($r->{headers}{'x-ratelimit-reset'}, 0, 'at once');

my $sent = 500;
for my $i (1 .. 30) {
    last if $sent >= 60000;
    $r = send_to('/rate', many('rate', 1, 2000, $now + $i), 'a');
    is($r->{status}, 204, "request $i") if $r->{status} != 204;
    $sent += 2000;
}
is($sent, 60500, 'the last one may go beyond');
is($r->{headers}{'x-ratelimit-remaining'}, 0, 'nothing is left');
cmp_ok($r->{headers}{'x-ratelimit-reset'}, '>', 0, 'for a while');

$r = send_to('/rate', many('rate', 1, 1, $now + 50), 'a');
is($r->{status}, 429, 'over the rate');
is($r->{body}, "over the limit of 1000 samples per second "
    . "(nightlight_limit_samples zone=keys): no room in the window of 60 s "
    . "for another $r->{headers}{'retry-after'} s\n", 'names the limit');
cmp_ok($r->{headers}{'retry-after'}, '<=', 62, 'Retry-After');
is($r->{headers}{'x-ratelimit-reset'}, $r->{headers}{'retry-after'}, 'Reset');
is($r->{headers}{'x-ratelimit-remaining'}, 0, 'Remaining');
is(metric('requests_over_rate_limit'), 1, 'counted');
is(scalar(() = $t->log_lines(
    'remote_write of "a" refused with 429: more than 1000')), 1, 'logged');

# Unread: what is in the body does not matter, and the connection stays.
# A large request is charged while it is worked on, not when it ends: others
# of its key that come meanwhile are refused.
my $large = join '', map { my $i = $_; series_pb({ __name__ => 'large', i => $i },
    map { [$now - $_, $_] } reverse 1 .. 2000) } 1 .. 150;
my $s = $t->connect();
Nightlight::Test::send_all($s, $t->write_bytes(snappy($large), uri => '/rate',
    headers => { 'X-Key' => 'large' }));
my ($early, $answered) = (0, 0);
until ($early || $answered) {
    $r = send_to('/rate', many('large', 1, 1, $now + 1), 'large');
    $answered = IO::Select->new($s)->can_read(0);
    $early = 1 if $r->{status} == 429 && !$answered;
}
is($early, 1, 'refused while a large request of the same key is worked on');
is(Nightlight::Test::read_response($s)->{status}, 204, 'which is answered');

$s = $t->connect();
for my $i (1 .. 3) {
    $r = exchange($s, $t->write_bytes("\xff" x 300_000, uri => '/rate',
        headers => { 'X-Key' => 'a' }));
    is($r->{status}, 429, "a large one on the same connection, $i");
}
$r = exchange($s, $t->write_bytes(snappy(many('rate', 1, 1, $now + 51)),
    uri => '/rate', headers => { 'X-Key' => 'b' }));
is($r->{status}, 204, 'another key has room, on the same connection');
cmp_ok(scalar(() = $t->log_lines('remote_write of "a" refused')), '<', 3,
    'not a line for each');
is(send_to('/rate', many('rate', 1, 1, $now + 52))->{status}, 204,
    'no key, no limit');
is(send_to('/rate', many('rate', 1, 1, $now + 53), '')->{status}, 204,
    'an empty key, no limit');
is(send_to('/rate', many('rate', 1, 1, $now + 54), 'k' x 900_000)->{status},
    204, 'a key of 900 kB');
is(send_to('/rate', many('rate', 1, 1, $now + 54), "\xff\x80" x 90)->{status},
    204, 'a key that is no UTF-8');
is($t->write_raw('x', uri => '/rate', headers => { 'X-Key' => 'a',
    'Content-Type' => 'application/x-protobuf;proto=io.prometheus.write.v2.Request' })
    ->{headers}{'x-prometheus-remote-write-samples-written'}, 0,
    '2.0: nothing written');

send_to('/rate/dry', many('rate_dry', 1, 100), 'dry');
$r = send_to('/rate/dry', many('rate_dry', 1, 100, $now + 1), 'dry');
is($r->{status}, 204, 'dry run: taken');
is($r->{headers}{'x-ratelimit-limit'}, undef, 'dry run: no headers');
is(metric('dry_run_requests_over_rate_limit'), 1, 'dry run: counted');
is(metric('requests_over_rate_limit'), 6, 'apart');

is(send_to('/rate/two', many('two', 1, 4000), 'two')->{status}, 204, 'two limits');
$r = send_to('/rate/two', many('two', 1, 1, $now + 1), 'three');
is($r->{status}, 429, 'either of them');
like($r->{body}, qr/1 samples per second \(nightlight_limit_samples zone=all\)/,
    'the one that is full');

# ---- series ----

is(send_to('/series', many('s', 1, 40), 'a')->{status}, 204, '40 of 50 series');
$r = send_to('/series', many('s', 31, 60, $now + 1), 'a');
is($r->{status}, 429, '60 of 50');
like($r->{body}, qr/^10 samples of series over the limit of 50 active series \(nightlight_limit_series active=\), the rest was taken; one of them is \{__name__="s", i="51"\}$/,
    'which limit, which series');
cmp_ok($r->{headers}{'retry-after'}, '>', 0, 'Retry-After');
is(n_of('s'), 50, 'the rest was taken');
is(send_to('/series', many('s', 1, 50, $now + 2), 'a')->{status}, 204,
    'those that are there go on');
is(send_to('/series', many('s', 51, 60, $now + 2), 'b')->{status}, 204,
    'another key has its own');
is(metric('samples_over_series_limit'), 10, 'counted');

$r = send_to('/created', many('c', 1, 30), 'c');
is($r->{status}, 400, 'new series in an hour: status as configured');
like($r->{body}, qr/^10 samples of series over the limit of 20 new series per hour \(nightlight_limit_series created=\)/,
    'names the limit');
is(n_of('c'), 20, 'taken up to it');
is(send_to('/series/204', many('q', 1, 30), 'q')->{status}, 204, 'not told');
is(n_of('q'), 5, 'but left out');

# ---- dry run of the others ----

is(send_to('/series/dry', many('d', 1, 30) . series_pb({ __name__ => 'dl',
    a => 1, b => 1, c => 1, d => 1 }, [$now, 1]) . series_pb({ __name__ =>
    'dry_dropped' }, [$now - 2 * 3600_000, 1]), 'd')->{status}, 204,
    'dry run: all is taken');
is(n_of('{__name__=~"dl?|dry_dropped"}') + 0, 31, 'and there');
is(metric('dry_run_samples_over_series_limit'), 27, 'series');
is(metric('dry_run_series_over_label_limits'), 1, 'labels');
is(metric('dry_run_series_dropped'), 1, 'drop');
is(metric('dry_run_samples_over_age_limit'), 1, 'age');

# ---- age ----

$r = send_to('/age', series_pb({ __name__ => 'age' }, [$now - 3700_000, 1]));
is($r->{status}, 400, 'too old');
like($r->{body}, qr/^too old sample, limit is 3600 s \(nightlight_max_sample_age\) for series \{__name__="age"\}$/, 'text');
$r = send_to('/age', series_pb({ __name__ => 'age' }, [$now + 120_000, 1]));
is($r->{status}, 400, 'too new');
like($r->{body}, qr/far in the future, limit is 60 s \(nightlight_max_sample_future\) for series/, 'text');
is(send_to('/age', series_pb({ __name__ => 'age' }, [$now - 3500_000, 1],
    [$now + 1000, 1]))->{status}, 204, 'between');

# ---- stamped labels ----

sub labels_of { my $l = $t->query($_[0], time => $now / 1000 + 1)->{result}[0]{metric};
    return join ',', map { "$_=$l->{$_}" } sort keys %{$l || {}} }

for my $n (1 .. 3) {
    send_to('/stamp/a', series_pb({ __name__ => 'st', location => 'forged',
        who => 'root', secret => 'x', z => 1 }, [$now + $n, $n]), 'me');
}
is(labels_of('st'), '__name__=st,location=outer,who=me,z=1',
    'what was sent is overridden, an empty one removed');
is(n_of('st'), 1, 'one series');
send_to('/stamp/b', series_pb({ __name__ => 'st', location => 'forged',
    z => 1 }, [$now, 1]), 'you');
is(labels_of('st{location="inner"}'),
    '__name__=st,a_first=1,location=inner,who=you,z=1', 'inner over outer');
my $plain = { __name__ => 'same_bytes' };
send_to('/api/v1/write', series_pb($plain, [$now, 1]));
send_to('/stamp/a', series_pb($plain, [$now, 2]), 'x');
send_to('/stamp/a', series_pb($plain, [$now, 3]), 'y');
send_to('/stamp/a', series_pb($plain, [$now, 3]), 'y');
is(n_of('same_bytes'), 3, 'the same bytes by three ways are three series');
is(send_to('/stamp/a', series_pb({ __name__ => 'st', location => 'outer',
    who => 'me', z => 1 }, [$now + 9, 9]), 'me')->{status}, 204, 'as stamped');
is(n_of('st{location="outer"}'), 1, 'is the same series');
$r = send_to('/stamp/a', series_pb($plain, [$now, 3]), "\xff");
is($r->{status}, 400, 'a value that is no UTF-8');
is($r->{body}, "value of label \"who\" of nightlight_label is not UTF-8\n", 'text');
$r = send_to('/stamp/a', series_pb($plain, [$now, 3]), 'x' x 900_000);
is($r->{status}, 400, 'a value of 900 kB');
like($r->{body}, qr/has 900000 bytes, limit is 4096 \(nightlight_max_label_value\)/, 'text');

# a name that is sent twice, empty, or with a NUL behind it
for my $forged ([who => 'x', who => 'y'], [who => ''], ["who\0" => 'x']) {
    my @l = (__name__ => 'forged', @$forged);
    my $pb = '';
    while (my ($k, $v) = splice @l, 0, 2) {
        $pb .= Nightlight::Test::field(1, Nightlight::Test::field(1, $k)
            . Nightlight::Test::field(2, $v));
    }
    send_to('/stamp/a', Nightlight::Test::field(1, $pb
        . Nightlight::Test::sample_pb([$now, 1])), 'me');
}
is(n_of('forged{who!="me"}') || 0, 0, 'no way around a stamped label');
cmp_ok(n_of('forged'), '>', 0, 'what is there of them has it');

# Stamps come on top of what nightlight_max_labels lets a sender send.
is(send_to('/stamp/max', series_pb({ __name__ => 'sm', a => 1, b => 2 }, [$now, 1]),
    'x')->{status}, 204, 'three labels of three, and two stamped ones');
is(labels_of('sm'), '__name__=sm,a=1,b=2,one=1,two=x', 'are five');
$r = send_to('/stamp/max', series_pb({ __name__ => 'sm', a => 1, b => 2, c => 3 },
    [$now, 1]), 'x');
is($r->{status}, 400, 'four of three');
like($r->{body}, qr/nightlight_max_labels/, 'which limit');
is(send_to('/stamp/max', series_pb({ __name__ => 'sm', a => 1, b => 2, one => 3 },
    [$now, 1]), 'x')->{status}, 400, 'also if one would be overridden');

# ---- drop rules ----

my $drop = series_pb({ __name__ => 'go_gc', job => 'x' }, [$now, 1], [$now + 1, 1])
    . series_pb({ __name__ => 'go_gc', job => 'y' }, [$now, 1])
    . series_pb({ __name__ => 'dropped_metric' }, [$now, 1])
    . series_pb({ __name__ => 'kept', debug => '1' }, [$now, 1])
    . series_pb({ __name__ => 'kept' }, [$now, 1]);
is(send_to('/drop', $drop)->{status}, 204, 'drop: 204');
is(n_of('{__name__=~"go_gc|dropped_metric|kept"}'), 2, 'what is left');
is(metric('samples_dropped'), 4, 'counted');
send_to('/drop', $drop) for 1 .. 3;
is(metric('samples_dropped'), 16, 'each time');
send_to('/api/v1/write', $drop);
is(n_of('{__name__=~"go_gc|dropped_metric|kept"}'), 2 + 5,
    'elsewhere nothing is dropped');

# ---- off ----

my $many = many('off', 1, 3) . series_pb({ __name__ => 'dropped_here' }, [$now, 1]);
is(send_to('/off/in', $many, 'off')->{status}, 429, 'inherited limits');
is(n_of('{__name__=~"off|dropped_here",who="outer"}'), 1, 'hold, and rules do');
is(send_to('/off/in', $many, 'off2')->{status}, 429, 'of samples too')
    for 1 .. 2;
is(send_to('/off/out', $many, 'off')->{status}, 204, 'off: none holds');
is(n_of('{__name__=~"off|dropped_here",who=""}'), 4, 'nothing stamped or dropped');
is(send_to('/off/out', series_pb({ __name__ => 'off_old' }, [$now - 7200_000, 1]),
    'off')->{status}, 204, 'nor too old');
$r = send_to('/off/own', many('own', 1, 9), 'own');
is($r->{status}, 429, "one of one's own");
like($r->{body}, qr/limit of 3 active series/, 'in place of the outer one');

# ---- more keys than a zone has room for ----

is(send_to('/tiny', many('tiny', 1, 1), "k$_")->{status}, 204, "key $_")
    for 1 .. 130;
is(scalar(() = $t->log_lines('zone "tiny" is full, and has forgotten \d+ keys')) > 0,
    1, 'a zone that is too small says so');

# ---- values of a request ----

send_to('/value/samples', many('v', 1, 200), 'v1', limit => '100/s');
$r = send_to('/value/samples', many('v', 1, 1, $now + 1), 'v1', limit => 100);
is($r->{headers}{'x-ratelimit-limit'}, 6000, 'a rate from a variable');
is(send_to('/value/samples', many('v', 1, 1, $now + 2), 'v1', limit => 2)->{status},
    429, 'is asked for with each request');
for my $no ('none', 'x', '-1', '1e9', '99999999999999999999') {
    $r = send_to('/value/samples', many('v', 1, 1, $now + 3), "v $no", limit => $no);
    is($r->{headers}{'x-ratelimit-limit'}, 300, "rate \"$no\": default=");
}
is(scalar(() = $t->log_lines('"nightlight_limit_samples rate=" must be a number '
    . 'of samples a second, 1 to 1000000000, but its variables make it "x", so the '
    . 'default holds')), 1, 'what is no value is logged, once for now');
is(scalar(() = $t->log_lines('but its variables make it ""')), 0,
    'what is empty is not');
is(send_to('/value/series', many('vs', 1, 10), 'vs', limit => 7)->{status}, 429,
    'series from a variable');
is(n_of('vs'), 7, 'as many');
like(send_to('/value/series', many('vt', 1, 10), 'vt')->{body},
    qr/^7 samples .* limit of 3 active series/, 'its default');
my $wide = join '', map { series_pb({ __name__ => "w$_", map { $_ => 'x' x 90 }
    'a' .. 'j' }, [$now, 1]) } 1 .. 100;
$r = send_to('/value/request', $wide, undef, limit => '64k');
is($r->{status}, 400, 'decoded size from a variable');
is($r->{body}, "decoded size exceeds the 65536 bytes limit "
    . "(nightlight_write_max_decoded)\n", 'text');
is(metric('requests_over_size_limit'), 1, 'counted');
is(send_to('/value/request', $wide, undef, limit => '1k')->{status}, 204,
    'less than is allowed: the default');
is(send_to('/value/request', $wide, undef, labels => 5)->{status}, 204,
    'known series are not looked at');
is(send_to('/value/request', series_pb({ __name__ => 'wl', map { $_ => 1 }
    'a' .. 'j' }, [$now, 1]), undef, labels => 5)->{status}, 400,
    'number of labels from a variable');
is(send_to('/value/request/dry', $wide)->{status}, 204, 'dry run of the size');
is(metric('dry_run_requests_over_size_limit'), 1, 'counted');

# ---- limits of queries ----

sub ask {
    my ($uri, $query, %h) = @_;
    return $t->http('GET', "$uri?" . Nightlight::Test::form(query => $query,
        time => $now / 1000 + 1), headers => { map { ("X-$_" => $h{$_}) } keys %h });
}
is(ask('/value/query/query', 's')->{status}, 200, 'no values: the defaults');
$r = ask('/value/query/query', 's', Samples => 10);
is($r->{status}, 422, 'samples');
like($r->{body}, qr/\(nightlight_query_max_samples is 10\)/, 'and which');
$r = ask('/value/query/query', 'count(s)', Series => 10);
is($r->{status}, 422, 'series');
like($r->{body}, qr/\(nightlight_query_max_series is 10\)/, 'and which');
$r = ask('/value/query/query', 'count(rate)', Memory => '64k');
is($r->{status}, 200, 'memory: enough');
my $LARGE = join ' or ', map { "(rate * $_)" } 2 .. 9;
$r = ask('/value/query/query', "count($LARGE)", Memory => '64k');
is($r->{status}, 422, 'memory');
like($r->{body}, qr/nightlight_query_memory allows \(65536 bytes\)/, 'and which');
$r = ask('/value/query/query', 'sum_over_time((rate*rate)[10m:10ms])', Timeout => '20ms');
is($r->{status}, 503, 'time');
like($r->{body}, qr/\(nightlight_query_timeout is 20ms\)/, 'and which');
ok(defined $r->{headers}{'retry-after'}, 'Retry-After');
is(ask('/value/query/query', 's', Samples => '0', Series => 'lots', Memory => '1',
    Timeout => '-5s')->{status}, 200, 'no values: the defaults hold');
is(scalar(() = $t->log_lines("\"nightlight_query_$_")), 1, "nightlight_query_$_ is logged")
    for 'max_samples" must be a number of samples from 1 on, but its variables make it "0"',
    'max_series" must be a number of series from 1 on, but its variables make it "lots"',
    'memory" must be a size such as 64m, 64k or more, but its variables make it "1"',
    'timeout" must be a time from 1ms to 366d, but its variables make it "-5s"';

sub tried { my ($limit) = @_; return $t->metric(
    "nightlight_query_refusals_dry_run_total{limit=\"$limit\"}") }
is(ask('/dry/outer/query', 'count(s)', Series => 59)->{status}, 200,
    'dry run: answered');
is(ask('/dry/outer/query', 's')->{status}, 200, 'likewise');
is(join(',', map { tried($_) } qw(samples series memory)), '1,1,0',
    'and counted, by limit');
is(scalar(() = $t->log_lines('query would be refused, but for dry_run: it took '
    . '60 series, and "nightlight_query_max_series" is 59')), 1, 'and logged');
is(ask('/dry/outer/query', 'count(s)', Series => 60)->{status}, 200, 'up to it');
is(tried('series'), 1, 'is not counted');
my $ms = tried('time');
ask('/dry/outer/query', 'sum_over_time((rate*rate)[10m:100ms])');
is(tried('time') - $ms, 1, 'time');
$ms = tried('memory');
ask('/dry/outer/query', "count($LARGE)");
is(tried('memory') - $ms, 1, 'memory');
$ms = tried('samples');
is(ask('/dry/inner/query', 's', Series => 59)->{status}, 422,
    'a limit of an inner level that holds');
is(tried('samples') - $ms, 0, 'ends what the outer one tries');
is(tried('series'), 2, 'of its kind');

# ---- reload ----

conf(rate => 2000, active => 55, more_drop => 'nightlight_drop kept;');
$t->reload();
$r = send_to('/rate', many('rate', 1, 1, $now + 60), 'a');
is($r->{status}, 204, 'reload: a higher limit holds at once');
is($r->{headers}{'x-ratelimit-limit'}, 120000, 'the new one');
cmp_ok($r->{headers}{'x-ratelimit-remaining'}, '<', 60000,
    'and what was counted is not forgotten');
$r = send_to('/series', many('s', 1, 70, $now + 3), 'a');
is($r->{status}, 429, 'reload: series too');
like($r->{body}, qr/^5 samples of series over the limit of 55 active/, 'counted on');
my $before = metric('samples_dropped');
send_to('/drop', series_pb({ __name__ => 'kept' }, [$now + 5, 1]));
is(metric('samples_dropped') - $before, 1,
    'reload: a new rule holds for a series that is known');
is(n_of('rate{i="1"}'), 1, 'nothing is lost');

# ---- series of a tenant, counted from the head ----

my $told = $t->metric('nightlight_tenant_series_created_total{tenant="acme"}') || 0;
$r = send_to('/tenant/series', many('ts', 1, 30), 'acme');
is($r->{status}, 429, 'active series of a tenant');
like($r->{body}, qr/^10 samples of series over the limit of 20 active series/, 'text');
is(send_to('/tenant/series', many('ts', 1, 20), 'beta')->{status}, 204,
    'another tenant has its own');
sub by_tenant { my ($name, $more) = @_; return $t->metric("nightlight_tenant_${name}_total{"
    . ($more ? "$more," : '') . 'tenant="acme"}') }
is(by_tenant('series_created'), 20, 'metric: series created');
is(by_tenant('samples'), 20, 'samples');
is(by_tenant('samples_refused', 'reason="series_limit"'), 10, 'refused, by reason');
send_to('/tenant/series', series_pb({ __name__ => 'ts', i => 1 },
    [$now + 3600_000 * 24, 1]), 'acme');
is(by_tenant('samples_refused', 'reason="too_new"'), 1, 'another reason');
for my $how ('a restart', 'the loss of the head') {
    $t->stop();
    if ($how =~ /loss/) { unlink glob "$t->{dir}/head/*" }
    $t->run();
    is($t->wait_for(sub { my $s = $t->http('GET', '/-/ready')->{status} || 0; $s == 200 },
        'ready', 20), 1, "$how");
    is(send_to('/tenant/series', many('ts', 1, 20, $now + 1), 'acme')->{status}, 204,
        'known ones go on');
    is(send_to('/tenant/series', many('ts', 31, 31, $now + 1), 'acme')->{status}, 429,
        'and the limit has not forgotten them');
}
# ---- refused configurations ----

sub refused {
    my ($http, $loc, $re) = @_;
    $t->write_conf(http => $http, locations =>
        "location = /w { nightlight_write main; $loc }");
    my ($code, $out) = $t->config_test();
    isnt($code, 0, "refused: $http $loc");
    like($out, $re, 'why');
}
my $zone = 'nightlight_limit_zone $remote_addr zone=z:64k;';
refused('nightlight_limit_zone x zone=z;', '', qr/not zone=name:size/);
refused('nightlight_limit_zone x zone=z:1k;', '', qr/not a size such as/);
refused("$zone $zone", '', qr/"z" is defined already/);
refused('', 'nightlight_limit_samples zone=no rate=1;', qr/zero size shared memory zone "no"/);
refused($zone, 'nightlight_limit_samples zone=z window=5s;', qr/needs "zone=" and "rate="/);
refused($zone, 'nightlight_limit_samples zone=z rate=0;', qr/"nightlight_limit_samples rate=" must be a number of samples a second, 1 to 1000000000, not "0"/);
refused($zone, 'nightlight_limit_samples zone=z rate=5 window=2h;', qr/not a time from 1s to 1h/);
refused($zone, 'nightlight_limit_samples zone=z burst=5;', qr/unknown parameter/);
refused($zone, 'nightlight_limit_series zone=z;', qr/needs "active=" or "created="/);
refused($zone, 'nightlight_limit_series zone=z active=-1;', qr/"nightlight_limit_series active=" must be a number of series, .* not "-1"/);
refused($zone, 'nightlight_limit_samples zone=z rate=$http_x;', qr/needs "default=" beside a value with variables/);
refused($zone, 'nightlight_limit_series zone=z active=$http_x;', qr/needs "default="/);
refused($zone, 'nightlight_limit_samples zone=z rate=5 default=$http_x;', qr/no variables in "default="/);
refused('', 'nightlight_limit_series created=5;', qr/needs "zone=" beside "created="/);
refused($zone, 'nightlight_limit_samples off; nightlight_limit_samples zone=z rate=5;', qr/cannot stand beside "off"/);
refused($zone, 'nightlight_limit_samples zone=z rate=5; nightlight_limit_samples off;', qr/cannot stand beside "off"/);
refused('', 'nightlight_drop off a;', qr/cannot stand beside "off"/);
refused('', 'nightlight_max_sample_age never;', qr/invalid value/);
refused('', 'nightlight_max_labels 0;', qr/"nightlight_max_labels" must be a number from 1 to 1024, not "0"/);
refused('', 'nightlight_write_max_decoded 33m;', qr/must be a size from 64k to 32m, not "33m"/);
refused('', 'nightlight_query_memory 1m maybe;', qr/"maybe": unknown, not dry_run/);
refused('', 'nightlight_query_memory 1m; nightlight_query_memory 2m;', qr/is duplicate/);
refused('', 'nightlight_query_timeout $nosuch;', qr/unknown "nosuch" variable/);
refused('', 'nightlight_label 1x=5;', qr/not a name of a label/);
refused('', 'nightlight_label __name__=5;', qr/other than __name__/);
refused('', 'nightlight_label a=5; nightlight_label a=6;', qr/duplicate name/);
refused('', 'nightlight_drop {};', qr/./);
refused('', 'nightlight_drop "{a=~\"(\"}";', qr/invalid selector/);

conf();
$t->done();
