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
$t->write_conf(http => <<'EOM', locations => <<'EOL');
    map $http_origin $cors {
        default                   "";
        http://page.example:8080  $http_origin;
        ~\.?good\.example$        $http_origin;
    }
EOM
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location = /federate     { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location /one/api/v1/    { nightlight_query main; nightlight_cors $cors; }
        location /none/api/v1/   { nightlight_query main; nightlight_cors off; }
        location /all/api/v1/    { nightlight_query main; nightlight_cors *; }
        location /guarded/       { nightlight_admin main;
                                   if ($http_origin) { return 403; } }
        location /zip/api/v1/    { nightlight_query main;
                                   gzip on; gzip_types application/json; }
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

for my $stats ('true', 'all', '1', 'false', '"<') {
    my $r = $t->http('GET', '/api/v1/query?' . form(query => '1', time => 5,
        stats => $stats))->{body};
    (my $shown = $stats) =~ s/"/\\\\\\"/;
    $shown =~ s/</\\u003c/;
    like($r, qr/,"stats":\{"timings":\{.*\},"samples":\{.*\}\}\}/, "stats=$stats");
    is($r =~ /"warnings":(.*)\}$/ ? $1 : '', $stats =~ /^(?:true|all)$/ ? ''
        : "[\"value \\\"$shown\\\" for parameter \\\"stats\\\" is deprecated and "
        . 'will be rejected in the next major release, use \"true\" or '
        . '\"all\""]', 'its warning');
}

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

# ---- format_query and parse_query ----

fails($_, [], invalid('query',
    'unknown position: parse error: no expression found in input')),
fails($_, [query => 'foo('], $unclosed) for qw(format_query parse_query);

my $a = 'a' x 60;
for my $case (
    [' sum by(job)(rate( a[5m]))  >bool 3',
        'sum by (job) (rate(a[5m])) \u003e bool 3'],
    ['a{b="x\ny\u2028<"}', 'a{b=\"x\\\\ny\\\\u2028\u003c\"}'],
    ["$a + on(x) group_left(y) $a",
        "  $a\\n+ on (x) group_left (y)\\n  $a"],
    ["topk by (a) (5, $a\{a=\"$a\"})", "topk by (a) (\\n  5,\\n"
        . "  $a\{a=\\\"$a\\\"}\\n)"],
    ["max_over_time(rate($a\{a=\"$a\"}[5m])[1h:5m] offset 1m @ 3)",
        "max_over_time(\\n  rate(\\n    $a\{a=\\\"$a\\\"}[5m]\\n"
        . '  )[1h:5m] @ 3.000 offset 1m\n)'],
    ["b - -($a + $a)", "  b\\n-\\n  -(\\n      $a\\n    +\\n      $a\\n  )"],
    ["sum(max_over_time(b[1m:1s])) / $a\{a=\"$a\"}",
        "  sum(max_over_time(b[1m:1s]))\\n/\\n  $a\{a=\\\"$a\\\"}"],
    ["2 ^ ($a + $a)", "  2\\n^\\n  (\\n      $a\\n    +\\n      $a\\n  )"],
)
{
    my ($query, $text) = @$case;
    data('format_query', [query => $query], "\"$text\"");
}

sub selector {
    my ($name, %p) = @_;
    my $at = $p{timestamp} // 'null';
    my $edge = $p{edge} ? "\"$p{edge}\"" : 'null';
    return '{"matchers":[' . ($p{matchers} ? "$p{matchers}," : '')
        . "{\"name\":\"__name__\",\"type\":\"=\",\"value\":\"$name\"}],"
        . "\"name\":\"$name\",\"offset\":" . ($p{offset} // 0) . ','
        . (defined $p{range} ? "\"range\":$p{range}," : '')
        . "\"startOrEnd\":$edge,\"timestamp\":$at,\"type\":\""
        . (defined $p{range} ? 'matrix' : 'vector') . 'Selector"}';
}

sub call {
    my ($name, $types, $ret, $variadic, @args) = @_;
    return '{"args":[' . join(',', @args) . '],"func":{"argTypes":['
        . join(',', map { "\"$_\"" } @$types) . "],\"name\":\"$name\","
        . "\"returnType\":\"$ret\",\"variadic\":$variadic},\"type\":\"call\"}";
}

sub number { "{\"type\":\"numberLiteral\",\"val\":\"$_[0]\"}" }

sub binary {
    my ($op, $bool, $matching, $l, $r) = @_;
    $matching = '{"card":"' . $matching->[0] . '","fillValues":{"lhs":null,'
        . '"rhs":null},"include":' . $matching->[1] . ',"labels":'
        . $matching->[2] . ',"on":' . $matching->[3] . '}' if ref $matching;
    return "{\"bool\":$bool,\"lhs\":$l,\"matching\":$matching,"
        . "\"op\":\"$op\",\"rhs\":$r,\"type\":\"binaryExpr\"}";
}

my ($sa, $sb) = (selector('a'), selector('b'));
data('parse_query', [query => $_->[0]], $_->[1]) for
    ['a', $sa],
    ['a{b="c<",d!~"e"} offset -5m @ 3.25', selector('a', offset => -300000,
        timestamp => 3250, matchers =>
        '{"name":"b","type":"=","value":"c\u003c"},'
        . '{"name":"d","type":"!~","value":"e"}')],
    ['{"x.y",b=~"z"}', '{"matchers":[{"name":"__name__","type":"=",'
        . '"value":"x.y"},{"name":"b","type":"=~","value":"z"}],"name":"",'
        . '"offset":0,"startOrEnd":null,"timestamp":null,'
        . '"type":"vectorSelector"}'],
    ['rate(a[5m] @ start() offset 1s)', call('rate', ['matrix'], 'vector', 0,
        selector('a', range => 300000, offset => 1000, edge => 'start'))],
    ['b[1h:5m] @ end()', "{\"expr\":$sb,\"offset\":0,\"range\":3600000,"
        . '"startOrEnd":"end","step":300000,"timestamp":null,"type":"subquery"}'],
    ['-a', "{\"expr\":$sa,\"op\":\"-\",\"type\":\"unaryExpr\"}"],
    ['+a', "{\"expr\":$sa,\"op\":\"+\",\"type\":\"unaryExpr\"}"],
    ['(a)', "{\"expr\":$sa,\"type\":\"parenExpr\"}"],
    ['"s<\xff"', '{"type":"stringLiteral","val":"s\u003c\ufffd"}'],
    ['1.5e-7', number('0.00000015')], ['-Inf', number('-Inf')],
    ['5m', number(300)],
    ['topk without (b, c) (5, a)', "{\"expr\":$sa,\"grouping\":[\"b\",\"c\"],"
        . '"op":"topk","param":' . number(5) . ',"type":"aggregation",'
        . '"without":true}'],
    ['sum(a)', "{\"expr\":$sa,\"grouping\":[],\"op\":\"sum\",\"param\":null,"
        . '"type":"aggregation","without":false}'],
    ['a * ignoring(x) group_left(y) b', binary('*', 'false', ['many-to-one',
        '["y"]', '["x"]', 'false'], $sa, $sb)],
    ['a / on(x) group_right b', binary('/', 'false', ['one-to-many', '[]',
        '["x"]', 'true'], $sa, $sb)],
    ['a and b', binary('and', 'false', ['many-to-many', '[]', '[]', 'false'],
        $sa, $sb)],
    ['a > bool 1', binary('\u003e', 'true', 'null', $sa, number(1))],
    ['time()', call('time', [], 'scalar', 0)],
    ['round(a)', call('round', ['vector', 'scalar'], 'vector', 1, $sa)],
    ['label_join(a, "b", "c")', call('label_join', [('vector'),
        ('string') x 3], 'vector', -1, $sa,
        map { "{\"type\":\"stringLiteral\",\"val\":\"$_\"}" } qw(b c))];

# ---- endpoints without data ----

data('metadata', [], '{}', 0);
data('rules', [], '{"groups":[]}', 0);
data('rules', ['match[]' => 'temp', type => 'ALERT', exclude_alerts => 'T',
    group_limit => 5, 'file[]' => 'x'], '{"groups":[]}', 0);
fails('rules', 'match[]=(&type=x', '1:1: parse error: unexpected "("', 0);
fails('rules', 'match[]={}',
    'match[] must contain at least one non-empty matcher', 0);
fails('rules', 'type=X&exclude_alerts=X',
    invalid('type', 'not supported value "x"'), 0);
fails('rules', 'exclude_alerts=X&group_limit=x', invalid('exclude_alerts',
    'error converting exclude_alerts: strconv.ParseBool: parsing "x": invalid '
    . 'syntax'), 0);
fails('rules', 'group_limit=x&group_next_token=y', invalid('group_limit',
    'group_limit needs to be a valid number: strconv.ParseInt: parsing "x": '
    . 'invalid syntax'), 0);
fails('rules', "group_limit=$_", invalid('group_limit', 'group_limit needs to '
    . "be a valid number: strconv.ParseInt: parsing \"$_\": value out of range"),
    0) for '2147483648', '-2147483649', '9223372036854775808';
data('rules', 'group_limit=2147483647', '{"groups":[]}', 0);
fails('rules', 'group_limit=0&group_next_token=y', invalid('group_limit',
    'group_limit needs to be greater than 0'), 0);
fails('rules', 'group_next_token=y', invalid('group_next_token',
    'group_limit needs to be present in order to paginate over the groups'), 0);
fails('rules', 'group_limit=5&group_next_token=y', invalid('group_next_token',
    "invalid group_next_token 'y'. were rule groups changed?"), 0);
fails('rules', '%zz',
    'error parsing form values: invalid URL escape "%zz"', 0);
data('alerts', [], '{"alerts":[]}', 0);
my $targets = '"activeTargets":[],"droppedTargets":[],"droppedTargetCounts"';
data('targets', $_, "{$targets:{}}", 0) for '', 'state=any', 'state=Dropped',
    'scrapePool=x';
data('targets', $_, "{$targets:null}", 0) for 'state=ACTIVE', 'state=x';
data('targets/metadata', $_, '[]', 0) for '', 'limit=-5', 'match_target={}';
fails('targets/metadata', 'limit=x&match_target=(', 'limit must be a number', 0);
fails('targets/metadata', 'match_target=(', invalid('match_target',
    '1:1: parse error: unexpected "("'), 0);
data('scrape_pools', [], '{"scrapePools":[]}', 0);
fails('scrape_pools/config', [], 'no scrapePool parameter provided', 0);
fails('scrape_pools/config', [scrapePool => 'x'], 'error retrieving scrape '
    . 'config: scrape pool "x" not found', 0);
fails('targets/relabel_steps', [], 'no scrapePool parameter provided', 0);
fails('targets/relabel_steps', [scrapePool => 'x'],
    'no labels parameter provided', 0);
fails('targets/relabel_steps', [scrapePool => 'x', labels => '{}'], 'error '
    . 'retrieving scrape config: scrape pool "x" not found', 0);
data('alertmanagers', [],
    '{"activeAlertmanagers":[],"droppedAlertmanagers":[]}', 0);
data('notifications', [], '[]', 0);
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
        . 'parameter \\"skip_head\\": unable to parse boolean: '
        . 'strconv.ParseBool: parsing '
        . "\\\"$v\\\": invalid syntax\"}", 'says why');
}
for my $args ('?format=portable', '?format=dense&skip_head=1') {
    is($t->http('POST', "/api/v1/admin/tsdb/snapshot$args")->{status}, 200,
        "snapshot$args");
}
is($t->http('POST', '/api/v1/admin/tsdb/snapshot?format=thick')->{body},
    '{"status":"error","errorType":"bad_data","error":"invalid parameter '
    . '\"format\": \"thick\" is not \"portable\" or \"dense\""}', 'no other');
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
    ['PUT', 'parse_query', 405, 'GET, OPTIONS, POST'],
    ['POST', 'rules', 405, 'GET, OPTIONS'],
    ['GET', 'admin/tsdb/delete_series', 405, 'OPTIONS, POST, PUT'],
)
{
    my ($method, $path, $status, $allow) = @$case;
    my $r = $t->http($method, "/api/v1/$path");
    is($r->{status}, $status, "$method $path: $status");
    is($r->{headers}{allow}, $allow, "$method $path: Allow");
    is($r->{body}, $method ne 'HEAD' ? "Method Not Allowed\n" : '',
        "$method $path: body");
    is($r->{headers}{'content-length'}, 19, "$method $path: its length");
    is($r->{headers}{'x-content-type-options'}, 'nosniff', 'is what it is');
    ok(!exists $r->{headers}{vary}, 'and nothing for browsers');
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
unlike($t->http('GET', '/metrics')->{body}, qr/^(?!#|\w+(?:\{\S+\})? \S+$)./m,
    'every line of /metrics is a comment or a sample');

# ---- browsers: CORS ----

my %cors = ('access-control-allow-headers' =>
    'Accept, Authorization, Content-Type, Origin',
    'access-control-allow-methods' => 'GET, POST, OPTIONS',
    'access-control-expose-headers' => 'Date');

# The headers of CORS are those for an origin; none: no header at all.
sub cors_is {
    my ($r, $what, $origin, $vary) = @_;
    my %want = $origin ? (%cors, 'access-control-allow-origin' => $origin) : ();
    $want{vary} = 'Origin' if $vary // 1;
    my %got = map { $_ => $r->{headers}{$_} } grep { /^access-control|^vary/ }
        keys %{$r->{headers}};
    is_deeply(\%got, \%want, $what);
}

my $page = 'http://page.example:8080';
for my $case (['GET', 'query?query=1', 200], ['GET', 'query?query=(', 400],
    ['OPTIONS', 'query', 204], ['OPTIONS', 'nothing', 204], ['OPTIONS', '', 204],
    ['OPTIONS', 'admin/tsdb/snapshot', 204], ['GET', 'labels', 200])
{
    my ($method, $path, $status) = @$case;
    for my $origin ($page, 'null', undef, '') {
        my $r = $t->http($method, "/api/v1/$path",
            headers => { Origin => $origin });
        is($r->{status}, $status, "$method $path");
        cors_is($r, 'from ' . ($origin // 'nowhere'), $origin);
        is($r->{body}, '', 'no body') if $status == 204;
    }
}
for my $case (['DELETE', '/api/v1/query'], ['GET', '/api/v1/nothing'],
    ['GET', '/-/ready'], ['GET', '/metrics'])
{
    cors_is($t->http(@$case, headers => { Origin => $page }), "@$case", '', 0);
}
for my $case (['/-/ready', 'GET, HEAD, OPTIONS'], ['/-/flush',
    'OPTIONS, POST, PUT'], ['/metrics', 'GET, HEAD, OPTIONS'])
{
    my $r = $t->http('OPTIONS', $case->[0]);
    is("$r->{status} $r->{headers}{allow}", "200 $case->[1]",
        "OPTIONS $case->[0]");
}
is($t->http('OPTIONS', '/-/nothing')->{status}, 404, 'nothing has no options');
for my $case (['/one', $page, $page], ['/one', 'http://other', ''],
    ['/one', 'https://good.example', 'https://good.example'],
    ['/none', $page, ''], ['/all', $page, '*'])
{
    my ($path, $origin, $want) = @$case;
    cors_is($t->http('GET', "$path/api/v1/query?query=1", headers =>
        { Origin => $origin }), "$path from $origin", $want, $path ne '/none');
}

{
    my @delete = ('POST', '/guarded/tsdb/delete_series?match[]=nothing');
    is($t->http(@delete)->{status}, 204, 'a delete by a program');
    is($t->http(@delete, headers => { Origin => $page })->{status}, 403,
        'not by a page, where the location does not want that');
}

# ---- HEAD and gzip by nginx ----

for my $path ('/-/healthy', '/-/ready', '/metrics') {
    my ($get, $head) = map { $t->http($_, $path)->{headers} } qw(GET HEAD);
    is($head->{'content-type'}, $get->{'content-type'}, "HEAD $path: type");
    ok($path eq '/metrics' || $head->{'content-length'}
        == $get->{'content-length'}, "HEAD $path: length");
}
SKIP: {
    eval { require IO::Uncompress::Gunzip } or skip('no gunzip', 2);
    my $uri = '/zip/api/v1/query_range?query=vector(1)&start=0&end=11000&step=1';
    my $plain = $t->http('GET', $uri);
    my $zip = $t->http('GET', $uri, headers => { 'Accept-Encoding' => 'gzip' });
    is($zip->{headers}{'content-encoding'}, 'gzip', 'nginx compresses');
    cmp_ok(length $zip->{body}, '<', length($plain->{body}) / 3, 'well');
    IO::Uncompress::Gunzip::gunzip(\$zip->{body}, \my $out);
    is($out, $plain->{body}, 'what it is without');
    is($t->http('HEAD', '/zip/api/v1/query', headers =>
        { 'Accept-Encoding' => 'gzip' })->{headers}{'content-length'}, 19,
        'HEAD stays as it is');
}

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
