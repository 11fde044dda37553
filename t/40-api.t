#!/usr/bin/perl
# The shape of the HTTP API: parameters, their errors in Prometheus's words
# and order, methods, routes, and the endpoints that read no samples.
use strict;
use warnings;
use Test::More;
use Nightlight::Test;

*series_pb = \&Nightlight::Test::series_pb;
*form = \&Nightlight::Test::form;

my $t = Nightlight::Test->new();
$t->write_conf(locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location = /federate     { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOL
$t->run();

my $now = int(time() / 60) * 60;
my $ms = $now * 1000;

my $pb = '';
for my $job (qw(api db web)) {
    $pb .= series_pb({ __name__ => 'temp', job => $job, instance => "h$_" },
        [$ms - 60_000, 1], [$ms, 2]) for 0 .. 1;
}
$pb .= series_pb({ __name__ => 'old', job => 'api', 'l.x' => 'dotted' },
    [$ms - 7200_000, 1]);
$pb .= series_pb({ __name__ => 'html', tag => '<b>&' }, [$ms, 1]);
is($t->write_pb($pb)->{status}, 204, 'the data');

# A GET; with $post also the same by POST.  Body and status must be these.
sub answers {
    my ($path, $params, $status, $body, $post) = @_;
    my $what = "$path " . (ref $params ? join ' ', map {
        ref $_ ? "[@$_]" : $_ } @$params : $params);
    $what =~ s/[^\x20-\x7e]/?/g;
    $what = substr($what, 0, 90);
    my $form = ref $params ? form(@$params) : $params;
    my $r = $t->http('GET', "/api/v1/$path" . (length $form ? "?$form" : ''));
    is("$r->{status} $r->{body}", "$status $body", "GET $what");
    is($r->{headers}{'content-type'}, 'application/json', 'its type')
        if $r->{body} =~ /^\{/;
    return $r unless $post;
    $r = $t->http('POST', "/api/v1/$path", body => $form, headers =>
        { 'Content-Type' => 'application/x-www-form-urlencoded' });
    is("$r->{status} $r->{body}", "$status $body", "POST $what");
    return $r;
}

sub fails {
    my ($path, $params, $text, $post) = @_;
    $text =~ s/(["\\])/\\$1/g;
    answers($path, $params, 400, '{"status":"error","errorType":"bad_data",'
        . "\"error\":\"$text\"}", defined $post ? $post : 1);
}

sub data {
    my ($path, $params, $data, $post) = @_;
    answers($path, $params, 200, "{\"status\":\"success\",\"data\":$data}",
        defined $post ? $post : 1);
}

sub invalid { return "invalid parameter \"$_[0]\": $_[1]" }

# ---- query: limit, time, timeout, lookback_delta, query, in this order ----

my $no_time = sub { invalid($_[0], "invalid time value for '$_[0]': cannot "
    . "parse \"$_[1]\" to a valid timestamp") };
my $atoi = sub { invalid('limit', "strconv.Atoi: parsing \"$_[0]\": $_[1]") };
my $unclosed = invalid('query', '1:5: parse error: unclosed left parenthesis');

fails('query', [], invalid('query',
    'unknown position: parse error: no expression found in input'));
fails('query', [query => 'foo(', time => 'x', timeout => 'x', limit => 'x',
    lookback_delta => 'x'], $atoi->('x', 'invalid syntax'));
fails('query', [query => 'foo(', time => 'x', timeout => 'x',
    lookback_delta => 'x'], $no_time->('time', 'x'));
fails('query', [query => 'foo(', time => 5, timeout => 'x',
    lookback_delta => 'x'], invalid('timeout',
    'cannot parse "x" to a valid duration'));
fails('query', [query => 'foo(', time => 5, lookback_delta => 'x'],
    'error parsing lookback delta duration: cannot parse "x" to a valid '
    . 'duration');
fails('query', [query => 'foo(', time => 5], $unclosed);
fails('query', [query => '1', limit => -1], invalid('limit',
    'limit must be non-negative'));
fails('query', [query => '1', limit => '1.5'], $atoi->('1.5', 'invalid syntax'));
fails('query', [query => '1', limit => '9223372036854775808'],
    $atoi->('9223372036854775808', 'value out of range'));
fails('query', [query => '1', time => '2023-02-30T22:13:20Z'],
    $no_time->('time', '2023-02-30T22:13:20Z'));
fails('query', [query => '1', timeout => '1e30'], invalid('timeout',
    'cannot parse "1e30" to a valid duration. It overflows int64'));
answers('query', [query => '1', time => '<&>'], 400, '{"status":"error",'
    . '"errorType":"bad_data","error":"invalid parameter \"time\": invalid time '
    . 'value for \'time\': cannot parse \"\u003c\u0026\u003e\" to a valid '
    . 'timestamp"}', 1);
fails('query', [query => "a +\nb c("], invalid('query',
    '2:3: parse error: unexpected identifier "c"'));
fails('query', [query => '1', time => 5, timeout => 0],
    invalid('query', 'context deadline exceeded'), 0);

my $one = sub { "{\"resultType\":\"scalar\",\"result\":[$_[0],\"1\"]}" };
data('query', [query => '1', time => '2023-11-14T22:13:20.5+01:00'],
    $one->('1699996400.5'));
data('query', [query => '1', time => '1e3'], $one->(1000));
data('query', [query => '1', time => 5, limit => '', timeout => '1m',
    lookback_delta => '1m'], $one->(5));
data('query', [query => ['1', '2'], time => [5, 6]], $one->(5));
data('query', 'query=1&time=5&x=%z', $one->(5));
data('query', '&&query=1&time=5&=', $one->(5));
data('query', 'query=0%2B1&time=5', $one->(5));
data('query', 'query=0+%2B+1&time=5', $one->(5));
fails('query', 'query=%zz', invalid('query',
    'unknown position: parse error: no expression found in input'));

answers('query', [query => 'sort(temp{instance="h0"} + on(job) temp{instance='
    . '"h1"})', time => $now, limit => 2], 200, '{"status":"success","data":{'
    . '"resultType":"vector","result":['
    . join(',', map { "{\"metric\":{\"job\":\"$_\"},\"value\":[$now,\"4\"]}" }
        qw(api db)) . ']},"warnings":["results truncated due to limit"]}', 1);

# ---- query_range ----

my $no_stamp = sub { invalid($_[0], "cannot parse \"$_[1]\" to a valid "
    . 'timestamp') };
my @r = (start => 0, end => 10, step => 1);

fails('query_range', [], $no_stamp->('start', ''));
fails('query_range', [query => '1', start => 'x', end => 'y', step => 'z',
    limit => 'l'], $atoi->('l', 'invalid syntax'));
fails('query_range', [query => '1', start => 'x', end => 'y', step => 'z'],
    $no_stamp->('start', 'x'));
fails('query_range', [query => '1', start => 5], $no_stamp->('end', ''));
fails('query_range', [query => '1', start => 6, end => 5, step => 'z'],
    invalid('end', 'end timestamp must not be before start time'));
fails('query_range', [query => '1', start => 5, end => 6],
    invalid('step', 'cannot parse "" to a valid duration'));
fails('query_range', [query => '1', start => 5, end => 6, step => '-1s'],
    invalid('step', 'cannot parse "-1s" to a valid duration'));
fails('query_range', [query => '1', start => 5, end => 6, step => $_],
    invalid('step', 'zero or negative query resolution step widths are not '
    . 'accepted. Try a positive integer')) for 0, -1;
fails('query_range', [query => 'foo(', start => 0, end => 11001, step => 1,
    timeout => 'x'], 'exceeded maximum resolution of 11,000 points per '
    . 'timeseries. Try decreasing the query resolution (?step=XX)');
fails('query_range', [query => 'foo(', @r, timeout => 'x', lookback_delta =>
    'x'], invalid('timeout', 'cannot parse "x" to a valid duration'));
fails('query_range', [query => 'foo(', @r, lookback_delta => 'x'],
    'error parsing lookback delta duration: cannot parse "x" to a valid '
    . 'duration');
fails('query_range', [query => 'foo(', @r], $unclosed);
fails('query_range', [query => 'temp[5m]', @r], invalid('query', 'invalid '
    . 'expression type "range vector" for range query, must be Scalar or '
    . 'instant Vector'));
fails('query_range', [query => '"a"', @r], invalid('query', 'invalid '
    . 'expression type "string" for range query, must be Scalar or '
    . 'instant Vector'));
my $points = $t->api('query_range', query => '1', start => 0, end => 11000,
    step => 1)->{data}{result}[0]{values};
is(scalar @{$points || []}, 11001, '11,001 points pass');

# ---- series ----

my %set = map { my $job = $_; map { ("$job$_" => "{\"__name__\":\"temp\","
    . "\"instance\":\"h$_\",\"job\":\"$job\"}") } 0 .. 1 } qw(api db web);
my $old = '{"__name__":"old","job":"api","l.x":"dotted"}';

fails('series', [], 'no match[] parameter provided');
fails('series', [limit => 'x'], 'no match[] parameter provided');
fails('series', ['match[]' => 'foo(', limit => 'x', start => 'y'],
    $atoi->('x', 'invalid syntax'));
fails('series', ['match[]' => 'foo(', start => 'y', end => 'z'],
    $no_time->('start', 'y'));
fails('series', ['match[]' => 'foo(', end => 'z'], $no_time->('end', 'z'));
fails('series', ['match[]' => 'foo('], invalid('match[]',
    '1:4: parse error: unexpected "("'));
fails('series', ['match[]' => '{job=~".*"}'], invalid('match[]',
    'match[] must contain at least one non-empty matcher'));
fails('series', 'match[]=%zz',
    'error parsing form values: invalid URL escape "%zz"');
my @series = (map { ['match[]' => $_] } 'temp{instance="h0"}',
    '{job=~"a.*|db|web",instance="h0"}', '{__name__="temp",instance!="h1"}');
data('series', $_, '[' . join(',', @set{qw(api0 db0 web0)}) . ']') for @series;
data('series', ['match[]' => ['temp{job="db"}', '{job="api"}',
    'temp{instance="h0",job="db"}']],
    '[' . join(',', $old, @set{qw(api0 db0 api1 db1)}) . ']');
data('series', ['match[]' => 'nothing'], '[]');
data('series', ['match[]' => '{job="api"}', start => $now - 60, end => $now],
    '[' . join(',', @set{qw(api0 api1)}) . ']');
data('series', ['match[]' => '{job="api"}', start => $now - 7201,
    end => $now - 7199], "[$old]");
data('series', ['match[]' => '{job="api"}', start => $now + 60,
    end => $now + 120], '[]');
answers('series', ['match[]' => 'temp', limit => 2], 200, '{"status":"success",'
    . '"data":[' . join(',', @set{qw(api0 db0)}) . '],"warnings":["results '
    . 'truncated due to limit"]}', 1);
data('series', ['match[]' => 'html'], '[{"__name__":"html","tag":"<b>&"}]');

# ---- labels and values ----

data('labels', [], '["__name__","instance","job","l.x","tag"]');
data('labels', ['match[]' => 'old'], '["__name__","job","l.x"]');
data('labels', ['match[]' => ['old', 'html']],
    '["__name__","job","l.x","tag"]');
data('labels', ['match[]' => 'nothing'], '[]');
answers('labels', [limit => 2], 200, '{"status":"success","data":["__name__",'
    . '"instance"],"warnings":["results truncated due to limit"]}', 1);
fails('labels', ['match[]' => 'foo('], '1:4: parse error: unexpected "("');
fails('labels', ['match[]' => '{}'],
    'match[] must contain at least one non-empty matcher');
fails('labels', ['match[]' => 'foo(', limit => 'x', start => 'y'],
    $atoi->('x', 'invalid syntax'));
fails('labels', ['match[]' => 'foo(', start => 'y'], $no_time->('start', 'y'));

sub values_are { data("label/$_[0]/values", $_[1], $_[2], 0) }

values_are('job', [], '["api","db","web"]');
values_are('job', ['match[]' => 'temp{job!="db"}'], '["api","web"]');
values_are('__name__', [], '["html","old","temp"]');
values_are('__name__', ['match[]' => '{job="api"}'], '["old","temp"]');
values_are('job', [start => $now + 60, end => $now + 120], '[]');
values_are('nothing', [], '[]');
values_are('tag', [], '["\u003cb\u003e\u0026"]');
values_are('l.x', [], '["dotted"]');
values_are('U__l_2e_x', [], '["dotted"]');
values_are('U__job', [], '["api","db","web"]');
values_are('l%2Ex', [], '["dotted"]');
answers('label/job/values', [limit => 1], 200, '{"status":"success","data":'
    . '["api"],"warnings":["results truncated due to limit"]}');
fails('label/%ff/values', [], 'invalid label name: "\xff"', 0);
fails('label/%ff/values', [limit => 'x'], 'invalid label name: "\xff"', 0);
fails('label/job/values', ['match[]' => 'foo('],
    '1:4: parse error: unexpected "("', 0);
fails('label/job/values', [start => 'x'], $no_time->('start', 'x'), 0);

# ---- endpoints without data ----

data('metadata', [], '{}', 0);
data('rules', [], '{"groups":[]}', 0);
data('alerts', [], '{"alerts":[]}', 0);
data('query_exemplars', [query => 'temp', start => 0, end => 5], '[]');
my $info = $t->api('status/buildinfo');
is($info->{status}, 'success', 'buildinfo');
like($info->{data}{version}, qr/^\d+\.\d+\.\d+$/, 'has a version');
ok(!exists $info->{data}{features}, 'and no features, which would mean Mimir');
is($t->http('POST', '/api/v1/admin/tsdb/delete_series')->{status}, 400,
    'the admin API is there');

# ---- snapshots ----

for my $case (['POST', '?skip_head=true', ''], ['PUT', '?skip_head=0', ''],
    ['POST', '', ''], ['PUT', '', 'skip_head=1'])
{
    my ($method, $args, $form) = @$case;
    my $r = $t->http($method, "/api/v1/admin/tsdb/snapshot$args",
        body => $form, headers => { 'Content-Type' =>
            'application/x-www-form-urlencoded' });
    like($r->{body}, qr/^\{"status":"success","data":\{"name":"
        20\d{6}T\d{6}Z-[0-7][0-9a-f]{15}"\}\}$/x,
        "$method snapshot$args $form");
    my ($name) = $r->{body} =~ /"name":"([^"]+)"/;
    ok(-d $t->dir . "/store/snapshots/$name", 'is there');
}
ok(system('rm', '-r', $t->dir . '/store/snapshots') == 0
    && $t->http('POST', '/api/v1/admin/tsdb/snapshot')->{status} == 200,
    'also when all of them were removed, with the directory');
for my $args ('?skip_head=maybe', '?skip_head=yes') {
    my $r = $t->http('POST', "/api/v1/admin/tsdb/snapshot$args");
    my ($v) = $args =~ /=(\w+)/;
    is($r->{status}, 400, "snapshot$args");
    is($r->{body}, '{"status":"error","errorType":"bad_data","error":"invalid '
        . 'parameter \\"skip_head\\": strconv.ParseBool: parsing '
        . "\\\"$v\\\": invalid syntax\"}", 'says why');
}
is($t->http('GET', '/api/v1/admin/tsdb/snapshot')->{status}, 405,
    'a snapshot is nothing to get');

# ---- methods and routes ----

for my $case (
    ['DELETE', 'query', 405, 'GET, OPTIONS, POST'],
    ['PUT', 'query', 405, 'GET, OPTIONS, POST'],
    ['PATCH', 'labels', 405, 'GET, OPTIONS, POST'],
    ['HEAD', 'query?query=1', 405, 'GET, OPTIONS, POST'],
    ['POST', 'label/job/values', 405, 'GET, OPTIONS'],
    ['POST', 'status/buildinfo', 405, 'GET, OPTIONS'],
    ['OPTIONS', 'query', 204, 'GET, OPTIONS, POST'],
    ['OPTIONS', 'label/job/values', 204, 'GET, OPTIONS'],
)
{
    my ($method, $path, $status, $allow) = @$case;
    my $r = $t->http($method, "/api/v1/$path");
    is($r->{status}, $status, "$method $path: $status");
    is($r->{headers}{allow}, $allow, "$method $path: Allow");
    is($r->{body}, $status == 405 && $method ne 'HEAD'
        ? "Method Not Allowed\n" : '', "$method $path: body");
}
for my $path ('nothing', '', 'label/job', 'label/a%2Fb/values',
    'status/buildinfo/x', 'query/', './querys')
{
    my $r = $t->http('GET', "/api/v1/$path");
    is("$r->{status} $r->{body}", "404 404 page not found\n", "404: $path");
}
for my $path ('/-/healthy', '/-/ready') {
    is($t->http($_, $path)->{status}, 200, "$_ $path") for qw(GET HEAD);
    is($t->http('HEAD', $path)->{body}, '', "HEAD $path: no body");
    is($t->http('POST', $path)->{status}, 405, "POST $path");
}
is($t->http('GET', '/-/healthy')->{body}, "Nightlight is Healthy.\n", 'healthy');
is($t->http('GET', '/-/nothing')->{status}, 404, 'no such status');
is($t->http('HEAD', '/metrics')->{status}, 200, 'HEAD /metrics');
is($t->http('GET', '/metrics')->{headers}{'content-type'},
    'text/plain; version=0.0.4; charset=utf-8', 'type of /metrics');
unlike($t->http('GET', '/metrics')->{body}, qr/^(?!#|\w+ \S+$)./m,
    'every line of /metrics is a comment or a sample');

# ---- hostile requests ----

is($t->http('GET', '/api/v1/query?' . '&' x 7000 . 'query=1')->{status}, 200,
    '7000 empty parameters');
{
    my $many = join '&', map { "a$_=1" } 1 .. 20_000;
    my $r = $t->http('POST', '/api/v1/query', body => $many, headers =>
        { 'Content-Type' => 'application/x-www-form-urlencoded' });
    is($r->{status}, 400, '20,000 parameters');
    like($r->{body}, qr/more than 10000 parameters/, 'say why');
    $r = $t->http('POST', '/api/v1/query', body => 'query=' . 'x' x (5 << 20),
        headers => { 'Content-Type' => 'application/x-www-form-urlencoded' });
    is($r->{status}, 413, 'a query of 5 MB');
    $r = $t->http('POST', '/api/v1/query', body => 'query=' . '%28' x 100_000,
        headers => { 'Content-Type' => 'application/x-www-form-urlencoded' });
    is($r->{status}, 400, '100,000 parentheses');
    $r = $t->http('POST', '/api/v1/query', body => "query=a%00b\x00",
        headers => { 'Content-Type' => 'application/x-www-form-urlencoded' });
    is($r->{status}, 400, 'zero bytes');
}
is($t->http('GET', '/api/v1/query?query=1&time=' . '9' x 4000)->{status}, 400,
    'a time of 4000 digits');

$t->done();
