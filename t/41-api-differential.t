#!/usr/bin/perl
# The same requests to Nightlight and to a real Prometheus with the same data:
# status, the headers that clients look at, and the body, byte for byte.  Every
# endpoint with every kind of mistake in its parameters, in methods, encodings
# and types of bodies.
#
#   TEST_PROMETHEUS=...   the Prometheus to compare with, 3.0 at least
#   NLT_DIFF_ONLY='re'    requests whose name matches, with both answers
#   NLT_DIFF_FAILS=10     stops after so many differences
#   NLT_DIFF_N=1000       random requests beside the table, made from
#   NLT_TEST_SEED=7       the seed; and a third as many random expressions
#
# What may differ, and why: @decided.
use strict;
use warnings;
use JSON::PP;
use Test::More;
use Nightlight::Test;
use Nightlight::Expr;

binmode $_, ':utf8' for Test::More->builder->output,
    Test::More->builder->failure_output;

my $t = Nightlight::Test->new();
my $prometheus = $ENV{TEST_PROMETHEUS} || $t->program('prometheus');
plan(skip_all => 'no prometheus') unless $prometheus;
my ($version) = `$prometheus --version 2>&1` =~ /version (\d+\.\d+)/;
plan(skip_all => "prometheus $version is older than 3")
    if !$version || $version < 3;
my $seed = $ENV{NLT_TEST_SEED} || 1;
my $n_random = $ENV{NLT_DIFF_N} // 1000;
note("NLT_TEST_SEED=$seed, prometheus $version");

$t->write_conf(server => 'nightlight_promql_features duration-expr '
    . 'experimental-functions;', locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
        location = /federate     { nightlight_query main; }
EOL
$t->run();
$t->write_file('prometheus.yml', "global: {scrape_interval: 1m}\n");
$t->spawn($prometheus, '--config.file=' . $t->dir . '/prometheus.yml',
    '--storage.tsdb.path=' . $t->dir . '/prom', '--log.level=error',
    '--web.listen-address=127.0.0.1:' . $t->port('prom'),
    '--storage.tsdb.retention.time=100y', '--web.enable-admin-api',
    '--enable-feature=promql-duration-expr,promql-experimental-functions',
    '--web.enable-remote-write-receiver');
$t->wait_for(sub { my $r = eval { $t->http('GET', '/-/ready', port => 'prom') };
    $r && $r->{status} == 200 }, 'prometheus ready', 60)
    or BAIL_OUT($t->read_file('logs/prometheus.log'));

# ---- the data ----

my $now = int(time() / 60) * 60;
my $ms = $now * 1000;
{
    my $pb = '';
    my $n = 0;
    for my $job (qw(api db web)) {
        for my $i (0 .. 3) {
            $n++;
            $pb .= Nightlight::Test::series_pb({ __name__ => 'temp',
                job => $job, instance => "h$i" },
                map { [$ms + ($_ - 9) * 30_000, $n + $_ / 4] } 0 .. 9);
        }
    }
    $pb .= Nightlight::Test::series_pb($_, [$ms - 60_000, 1], [$ms, 2]) for
        { __name__ => 'old', job => 'api', 'l.x' => 'dotted' },
        { __name__ => 'html', tag => '<b>&"\\' },
        { __name__ => "uni.c\x{f6}de", "l\x{e4}b el" => "v\x{e4}\x{2028}\n" },
        { __name__ => 'u_u', 'U__a' => 'b', _ => 'c', a__b => 'd' };
    my $body = Nightlight::Test::snappy($pb);
    is($t->write_raw($body, port => $_)->{status}, 204, "the data, $_")
        for qw(http prom);
}

# ---- requests: [name, method, uri, headers, body, uri and body] ----

my @requests;
my %form = ('Content-Type' => 'application/x-www-form-urlencoded');

sub add {
    my ($method, $path, $args, %p) = @_;
    my $q = ref $args ? Nightlight::Test::form(@$args) : $args // '';
    my $uri = "/api/v1/$path" . (length $q ? "?$q" : '');
    $uri = $path . (length $q ? "?$q" : '') if $path =~ m{^/};
    my $name = join ' ', $method, $uri, $p{note} // '';
    $name =~ s/[^\x20-\x7e]/?/g;
    push @requests, [substr($name, 0, 250), $method, $uri, $p{headers},
        $p{body}, $uri . ' ' . ($p{body} // '')];
}

sub get { add('GET', @_) }

# By GET, and, where that is allowed, by POST of a form.
sub both {
    my ($path, $args) = @_;
    get($path, $args);
    my $q = ref $args ? Nightlight::Test::form(@$args) : $args // '';
    add('POST', $path, '', headers => \%form, body => $q, note => "with $q");
}

my @times = ('', 0, -1, '1.5', '1e3', '1e400', 'NaN', 'nan', 'Inf', '+Inf',
    '-inf', 'infinity', '0x10', '0x1p4', '1_000', ' 1', '1 ', '+5', '5.',
    '.5', 'x', '1e', '--1', '1e18', '9223372036854775807',
    '-9223372036854775808', '1e15', $now, $ms, "$now.1234", "$now.9996",
    '2023-11-14T22:13:20Z', '2023-11-14T22:13:20.5+01:00',
    '2023-11-14T22:13:20,5Z', '2023-02-30T22:13:20Z', '2023-11-14T22:13:20',
    '2023-11-14t22:13:20z', '2023-11-14 22:13:20Z', '2023-11-14T24:00:00Z',
    '2023-11-14T22:13:60Z', '2023-11-14', '0000-01-01T00:00:00Z',
    '9999-12-31T23:59:59.999999999Z', '1677-01-01T00:00:00-23:59',
    '292277025-08-18T07:12:54.999999999Z', '-292273086-05-16T16:47:06Z',
    "\xff", "5\0", "\xd9\xa1", '<&>', 'now', '1h', '5;6', '%', '1,5');
my @durations = ('', 0, -1, '0.5', '1e2', '1m', '1m30s', '5.5s', '-1m', '1y',
    '1h1h', '1s1m', 'NaN', 'inf', '1e30', '300y', '0s', ' 5', '1M', '1d2h3m',
    '1ms', '0.0001', 'x', "\xff", '9999999999999999999s', '5m*2', '1e-10');
my @limits = ('', 0, 1, 2, 3, 1000, -1, 'x', '1.5', '+1', '-0', '1e1', '0x1',
    '9223372036854775807', '9223372036854775808', '-9223372036854775809',
    "\xd9\xa1", '1_0', ' 1', '1 ', '00001', "1\0");
my @matches = ('temp', 'old', 'nothing', '{job="api"}', '{job=~"a.*|db"}',
    '{job!="api"}', '{job=~".*"}', '{}', '', ' ', 'foo(', '{job="api"',
    'temp[5m]', 'temp offset 5m', '{__name__=~".+"}', 'temp{job="api",}',
    '{"l.x"="dotted"}', '{"uni.c\x{f6}de"}', '"x"', '1', 'temp{job=~"("}',
    'temp + temp', 'temp @ 5', "temp{job='db'}", '{job=~"(?i)API"}',
    "\xff", "{job=\"\xff\"}", '{__name__="temp",__name__="old"}', 'sum',
    'temp{__name__="x"}', '{tag="<b>&\"\\\\"}', '{job=""}', '{job!=""}',
    '{nothing=""}', '{job=~""}', "{'U__a'='b'}", '{_="c"}', '{a__b=~"d|"}');
my @queries = ('', ' ', '1', '-1', '1+', 'foo(', 'temp{job="api",instance="h0"}',
    'sum(temp)', 'sum(temp) by (job)', 'temp[1m]', '"a<b>\u2028"', '`r\n`',
    'time()', 'sort(temp)', 'topk(2, temp)', '1/0', '0/0', '-1/0', '1e100',
    'temp{job="x"}', 'nothing', 'rate(temp[5m])', 'temp @ 5', 'vector(1)',
    "html", "{\"uni.c\x{f6}de\"}", '"\xff"', "\"\xff\"", 'temp{', '}', '(((',
    'sum(sum', 'abs("a")', 'temp * on() temp', 'label_replace(temp, "a")',
    "# only a comment", "1 # comment", "1\n+\n2", 'NaN', 'temp == temp',
    'sum(rate(temp[1m])) by (instance) > bool 0', 'temp offset -5m',
    'max_over_time(temp[2m:30s])', 'info(temp)', 'limitk(1, temp)',
    'temp[1m*2]', '{__name__=~".+"}', 'histogram_quantile(0.9, temp)',
    'count_values("a", temp)', 'quantile(0.5, temp)', 'sort_desc(temp)',
    'stddev(temp) / avg(temp)', 'absent(nothing{a="b"})', 'scalar(temp)',
    'abs(', 'abs)', 'temp{job="api"} and temp', 'unknown_function(1)');

# Each endpoint that takes parameters, with others that make sense.
my @m = ('match[]' => 'temp');
my @range = (query => 'temp{job="api",instance="h0"}', start => $now - 60,
    end => $now, step => 30);

both('query', [query => $_, time => $now]) for @queries;
both('query', [query => 'temp{instance="h0",job="db"}', time => $_])
    for grep { $_ ne '' } @times;
get('query', [query => '1', time => $now, timeout => $_]) for @durations;
get('query', [query => 'temp{instance="h0",job="db"}', time => $now + 100,
    lookback_delta => $_]) for @durations;
get('query', [query => 'sort(temp)', time => $now, limit => $_]) for @limits;
get('query', [query => 'temp{job="db",instance="h1"}[2m]', time => $now,
    limit => $_]) for @limits;
get('query', [query => '5', time => $now, limit => 1]);
get('query', [query => '"s"', time => $now, limit => 1]);

both('query_range', [@range, query => $_]) for ();
both('query_range', [query => $_, start => $now - 60, end => $now,
    step => 30]) for @queries;
for my $p (qw(start end)) {
    my %r = @range;
    get('query_range', [map { $_ => $r{$_} } grep { $_ ne $p } sort keys %r]);
    get('query_range', [%r, $p => $_]) for @times;
}
get('query_range', [@range[0 .. 5], step => $_]) for @durations;
get('query_range', [@range, timeout => $_]) for @durations;
get('query_range', [@range, lookback_delta => $_]) for @durations;
get('query_range', [query => 'temp', @range[2 .. 7], limit => $_])
    for @limits;
get('query_range', [query => '1', start => 0, end => $_, step => 1])
    for 10999 .. 11002;
get('query_range', [query => '1', start => 5, end => 5, step => 1]);
get('query_range', [query => '1', start => 6, end => 5, step => 1]);
get('query_range', '');

for my $path (qw(format_query parse_query)) {
    both($path, [query => $_]) for @queries;
    get($path, '');
    get($path, 'query=%zz');
    get($path, 'query=1&query=2');
}

for my $path ('series', 'labels', 'label/job/values', 'label/__name__/values') {
    my $ask = $path =~ /^label\// ? \&get : \&both;
    $ask->($path, ['match[]' => $_]) for @matches;
    $ask->($path, ['match[]' => ['temp{job="db"}', $_]]) for @matches;
    get($path, ['match[]' => [$_, '{}']]) for 'foo(', '{', 'temp';
    get($path, ['match[]' => 'temp', start => $_]) for @times;
    get($path, ['match[]' => 'temp', end => $_]) for @times;
    get($path, ['match[]' => '{__name__=~".+"}', limit => $_]) for @limits;
    get($path, ['match[]' => 'foo(', limit => 'x', start => 'y', end => 'z']);
    get($path, ['match[]' => 'foo(', start => 'y', end => 'z']);
    get($path, ['match[]' => 'foo(', end => 'z']);
    get($path, ['match[]' => 'temp', start => $now + 10, end => $now]);
    for my $r ([-45, -45], [-30, -30], [-31, -29], [1, 60], [-3600, -600],
        [0, 0], [-270, -270], [-271, -271], [-3600, -270], [-60, -5])
    {
        my @r = (start => $now + $r->[0], end => $now + $r->[1]);
        get($path, [@r, 'match[]' => '{__name__=~"temp|old"}']);
        get($path, \@r);
    }
    get($path, '');
    get($path, 'match[]');
    get($path, 'match%5B%5D=temp');
    get($path, 'match=temp');
    get($path, ['match[]' => 'temp', limit => [2, 3], start => ['', 'x']]);
}
get('labels', [limit => $_]) for @limits;
get('label/job/values', [limit => $_]) for @limits;
for my $name (qw(job instance __name__ nothing tag l.x l%2Ex U__l_2e_x U__job
    U__ U__a U__U____a U__l_2E_x U__l_002e_x U__l_2e U__l__x U___ U___5f_
    U__l_zz_x U__l_110000_x U__l_d800_x U__l_1f600_x U__a___b u__l_2e_x a__b
    U__a____b _ U__l_e4_b_20_el l%C3%A4b%20el l%c3%a4b+el %ff %00 %20 a%2Fb
    a%zzb %25 a;b a?b 5 U__5 U__%ff U__%C3%A4 __name__%20 .. . %2e%2e
    U__l_0000002e_x U__l_00000000002e_x U__l_2_x U__l_20ac_x U__-), 'a b', '')
{
    my $n = $name;
    $n =~ s/ /%20/g;
    get("label/$n/values", '');
    get("label/$n/values", [limit => 'x']);
}

get('rules', $_) for '', 'type=', 'type=alert', 'type=ALERT', 'type=record',
    'type=recording', 'type=%3Cx', 'exclude_alerts=', 'exclude_alerts=x',
    'exclude_alerts=TRUE', 'exclude_alerts=tRuE', 'exclude_alerts=0',
    'group_limit=', 'group_limit=x', 'group_limit=0', 'group_limit=-5',
    'group_limit=5', 'group_limit=9223372036854775808', 'group_limit=1.5',
    'group_next_token=', 'group_next_token=abc', 'group_next_token=%22%3C',
    'group_limit=5&group_next_token=abc', 'group_limit=0&group_next_token=abc',
    'group_limit=x&group_next_token=abc', 'match[]=foo(', 'match[]={}',
    'match[]=', 'match[]=temp', 'match[]=temp&match[]={', '%zz', 'a;b', 'a=%',
    'rule_name[]=x&file[]=y&rule_group[]=z', 'type=x&exclude_alerts=x',
    'exclude_alerts=x&group_limit=x', 'match[]=(&type=x',
    'group_limit=x&type=x', 'type=alert&type=x', 'type=x&type=alert';
get('alerts', $_) for '', 'x=%zz', 'type=x';
get('alertmanagers', $_) for '', 'x=1';
get('scrape_pools', $_) for '', 'x=1';
get('notifications', $_) for '', 'x=%zz';
get('targets', $_) for '', 'state=', 'state=active', 'state=Active',
    'state=dropped', 'state=any', 'state=ANY', 'state=x', 'scrapePool=x',
    'state=active&state=any', '%zz', 'state=%zz';
get('targets/metadata', $_) for '', 'metric=x', 'limit=', 'limit=-1',
    'limit=0', 'limit=5', 'limit=x', 'limit=1.5', 'limit=9223372036854775808',
    'limit=x&match_target=(', 'match_target=', 'match_target=(',
    'match_target={}', 'match_target={job="x"}', 'match_target=a',
    'match_target={', 'match_target=%ff';

get('status/tsdb', $_) for 'limit=1000', 'limit=30&x=%zz', 'limit=1',
    'limit=3', 'limit=0', 'limit=-1', 'limit=x', 'limit=%2B5', 'limit=1.5',
    'limit=9223372036854775808', 'limit=%205', 'limit=10001', 'limit=10000',
    'limit=', 'limit=x&limit=5', 'limit=5&limit=x';
get('status/buildinfo', 'x=%zz');
get('status/walreplay', $_) for 'x=1', '%zz';

# ---- encodings ----

for my $path ('query', 'series', 'labels', 'format_query') {
    for my $q ('%', '%z', '%zz', 'query=1&%', 'query=1&a=%', 'query=1&x=%f',
        'query=1&x=%zz&match[]=temp', 'match[]=temp&x=%zz', 'query=1;match[]=x',
        'query=1&;&match[]=temp', '&&query=1&&match[]=temp&', '=', '=1', '&',
        'query=1&match[]=temp&=&==', 'query=0%2B1&match[]=%74emp', 'query=0+1',
        'query=1&query=2&match[]=temp', 'query&match[]=temp', 'QUERY=1',
        '%71uery=1&%6datch%5b%5d=temp', 'query=1%00&match[]=temp%00',
        'query=%ff&match[]=%ff', 'query=%EF%BB%BF1&match[]=%EF%BB%BFtemp',
        "query=1&match[]=temp&x=\xff", 'query=1#x', '?query=1&match[]=temp',
        'query=%31&match[]=te%6Dp', 'query=1%0a&match[]=temp%0a', ';',
        'match[]=%c3%28', 'query=1&match[]=temp&' . 'a=b&' x 300)
    {
        my $at = "&time=$now";
        get($path, "$q$at");
        add('POST', $path, '', headers => \%form, body => "$q$at",
            note => "with $q");
    }
}

# ---- forms ----

my @types = ('application/x-www-form-urlencoded',
    'application/x-www-form-urlencoded; charset=utf-8',
    'application/x-www-form-urlencoded;charset=utf-8',
    'APPLICATION/X-WWW-Form-URLEncoded', ' application/x-www-form-urlencoded ',
    'application/x-www-form-urlencoded ;charset=x', 'text/plain',
    'application/x-www-form-urlencoded;', 'application/x-www-form-urlencoded;;',
    'application/x-www-form-urlencoded; bad', 'application/json', '',
    'application/x-www-form-urlencoded; a=b; a=c', undef, 'garbage', 'a/b/c',
    'application/x-www-form-urlencodedx', 'multipart/mixed; boundary=x',
    'application/octet-stream', 'application/x-www-form-urlencoded, text/plain');
for my $type (@types) {
    for my $path ('query', 'series', 'labels') {
        add('POST', $path, "time=$now", body => 'query=2&match[]=old', headers =>
            { defined $type ? ('Content-Type' => $type) : () },
            note => 'as ' . ($type // 'nothing'));
        add('POST', $path, [query => 1, 'match[]' => 'temp{job="db"}',
            time => $now], body => 'query=2&match[]=old', headers =>
            { defined $type ? ('Content-Type' => $type) : () },
            note => 'over ' . ($type // 'nothing'));
    }
}
# multipart/form-data: fields are [name, value, more of the header]
sub multipart {
    my ($path, $args, $what, $fields, %p) = @_;
    my ($mark, $nl) = ($p{mark} // 'x-y z', $p{nl} // "\r\n");
    my $body = $p{before} // '';
    for my $f (@$fields) {
        my ($name, $value, $more) = @$f;
        $body .= "--$mark$nl" . ($p{header} // 'Content-Disposition: form-data')
            . "; name=$name" . ($more // '') . "$nl$nl$value$nl";
    }
    $body .= $p{end} // "--$mark--$nl";
    add('POST', $path, $args, note => "multipart: $what", body => $body, headers =>
        { 'Content-Type' => $p{type} // "multipart/form-data; boundary=\"$mark\"" });
}
for my $path (qw(query series labels parse_query)) {
    my @f = (['"query"', '1+1'], ['time', $now], ['"match[]"', 'temp{job="db"}']);
    multipart($path, @$_) for ['', 'plain', \@f], ['', 'LF', \@f, nl => "\n"],
        ["query=2&match[]=old&time=$now", 'behind the query string', \@f],
        ['', 'token', \@f, mark => 'abc', type => 'multipart/form-data; boundary=abc'],
        ['', 'case', \@f, mark => 'abc', type =>
            'Multipart/FORM-Data ; a="b;c"; BOUNDARY=abc'],
        ['', 'preamble', \@f, before => "a\r\n--\r\n--x-y\r\n"],
        ['', 'no end', \@f, end => ''], ['', 'half an end', \@f, end => '--x-y z'],
        ['', 'an end without a line', \@f, end => '--x-y z--'],
        ['', 'more behind', \@f, end => "--x-y z--\r\nquery=7"],
        ['', 'another boundary', \@f, type => 'multipart/form-data; boundary=z'],
        ['', 'no boundary', \@f, type => 'multipart/form-data'],
        ['', 'mixed', \@f, type => 'multipart/mixed; boundary="x-y z"'],
        ['', 'no fields', []], ['', 'nothing', [], end => ''],
        ['', 'attachments', \@f, header => 'Content-Disposition: attachment'],
        ['', 'other case', \@f, header => 'CONTENT-disposition:Form-Data'],
        ['', 'another header', \@f, header =>
            "Content-Type: text/plain\r\nContent-Disposition: form-data"],
        ['', 'files', [['"query"', '7', '; filename="a"'], @f]],
        ['', 'a file without a name', [['"query"', '7', '; filename=""'], @f]],
        ['', 'no names', [['""', '5'], @f]],
        ['', 'twice', [@f, ['"query"', '8'], ['"match[]"', 'old']]],
        ['', 'quoted names', [['"qu\\ery"', '5'], ['"a\\"b"', 1], ['time', 5]]],
        ['', 'an empty value', [['"query"', ''], ['"match[]"', ''], ['time', 5]]],
        ['', 'lines in a value', [['"query"', "1\r\n+\n2\r\n"], ['time', 5],
            ['"match[]"', "temp{\r\njob='db'}"]]],
        ['', 'a boundary in a value', [['"query"', "1 #\r\n--x-y z!\r\n"],
            ['time', 5], ['"match[]"', 'temp{job="db"}']]],
        ['', 'escapes', [['"query"', '1%2B1+1'], ['time', 5]]],
        ['', 'a bad limit', [@f, ['limit', 'x']]];
}
add('POST', $_, [query => 1, 'match[]' => 'old', time => $now])
    for qw(query series labels query_range format_query parse_query);
add('POST', 'query', "query=1&time=$now", headers => \%form, body => '');
add('POST', 'series', 'match[]=temp&x=%yy', headers => \%form, body => '%zz');
add('POST', 'series', '%zz', headers => \%form, body => 'match[]=temp');
add('POST', 'series', '', headers => \%form, body => 'match[]=te%zzmp');
add('GET', 'query', "time=$now", headers => \%form, body => 'query=1',
    note => 'GET with a body');
add('POST', 'query', '', headers => { %form, 'Transfer-Encoding' => 'chunked' },
    body => "7\r\nquery=5\r\n7\r\n&time=5\r\n0\r\n\r\n", note => 'chunked');
for my $n (1, 200, 400) {
    get('query', [query => '1', time => 'x' x $n]);
    get('query', [query => '"' . 'y' x $n . '"', time => 5]);
    both('query', [query => '1' . '+1' x ($n / 4), time => 5]);
    get('series', ['match[]' => '{job="' . "\xc3\xa4" x $n . '"}']);
    add('POST', 'series', '', headers => \%form, note => "$n times", body =>
        Nightlight::Test::form('match[]' => [('temp{job="db"}') x $n]));
}
both('query', [query => 'sum(temp' . '{job="' . 'x' x 5000 . '"})', time => 5]);

# ---- methods, routes, CORS ----

my @paths = qw(query query_range series labels label/job/values format_query
    parse_query rules alerts targets targets/metadata scrape_pools
    alertmanagers notifications status/buildinfo status/config status/flags
    status/runtimeinfo status/tsdb status/walreplay
    admin/tsdb/delete_series admin/tsdb/clean_tombstones admin/tsdb/snapshot
    nothing label/job label/job/values/x status status/ status/nothing targets/
    labels/x label admin admin/tsdb admin/tsdb/nothing values rules/x query/x);
for my $path (@paths) {
    my @methods = grep { $_ ne 'GET' || $path !~ /runtimeinfo|config|flags|tsdb$/ }
        # a snapshot would empty the head
        grep { $_ ne 'PUT' || $path !~ /snapshot/ } qw(GET PUT DELETE PATCH HEAD OPTIONS);
    add($_, $path, '') for @methods, 'FOO';
    add('POST', $path, '') if $path !~ /^admin/;
}
for my $path (qw(read write)) {
    add($_, $path, '') for qw(GET PUT DELETE PATCH HEAD OPTIONS);
    add('OPTIONS', $path, '', headers => { Origin => 'http://x' });
}
add($_, '/federate', '') for qw(PUT POST DELETE PATCH HEAD OPTIONS);
add('OPTIONS', '/federate', '', headers => { Origin => 'http://x' });
add('GET', '/federate', 'match[]=(', headers => { Origin => 'http://x' });
for my $path ('/-/healthy', '/-/ready', '/-/nothing', '/-/', '/-/healthy/') {
    add($_, $path, '') for qw(GET HEAD POST PUT DELETE OPTIONS PATCH);
}
for my $origin ('http://example.org', 'null', '', 'https://a.b:8080', 'x y') {
    for my $path ('query?query=1&time=5', 'query?query=foo(', 'nothing',
        'label/job/values', 'rules', 'status/buildinfo?x',
        'admin/tsdb/delete_series')
    {
        next if $path =~ /buildinfo/;
        add($_, $path, '', headers => { Origin => $origin },
            note => "from $origin") for qw(GET OPTIONS DELETE);
        add('OPTIONS', $path, '', headers => { Origin => $origin,
            'Access-Control-Request-Method' => 'POST',
            'Access-Control-Request-Headers' => 'X-Foo' },
            note => "preflight from $origin");
    }
    add($_, '/-/ready', '', headers => { Origin => $origin },
        note => "from $origin") for qw(GET OPTIONS);
}

# ---- the admin API, as far as nothing is deleted ----

for my $m (qw(POST PUT)) {
    add($m, 'admin/tsdb/delete_series', $_) for '', 'match[]=foo(',
        'match[]=nothing', 'match[]=nothing&start=x', 'match[]=nothing&end=x',
        'match[]=nothing&match[]=(', '%zz', 'match[]=nothing&x=%zz', 'start=x',
        'match[]=nothing&start=10&end=5';
    add($m, 'admin/tsdb/snapshot', $_) for 'skip_head=x', 'skip_head=2',
        'skip_head=yes', 'skip_head=tRue';
    add($m, 'admin/tsdb/clean_tombstones', '');
}

# ---- random requests: several mistakes at once ----

srand($seed);
sub one { return $_[rand @_] }

my @endpoints = (qw(query query_range series labels format_query parse_query
    label/job/values label/U__l_2e_x/values rules targets/metadata targets
    status/tsdb), 'label/%ff/values');
my %values = (query => \@queries, time => \@times, start => \@times,
    end => \@times, step => \@durations, timeout => ['1m', '5x', 'x'],
    lookback_delta => \@durations, limit => \@limits, 'match[]' => \@matches,
    type => ['alert', 'x'], exclude_alerts => ['1', 'x'], group_limit =>
    \@limits, group_next_token => ['', 'x'], match_target => \@matches,
    state => ['active', 'x']);
for (1 .. $n_random) {
    my $path = one(@endpoints);
    my @names = $path =~ /^query/ ? qw(query time start end step timeout
            lookback_delta limit)
        : $path =~ /series|label/ ? ('match[]', 'match[]', qw(start end limit))
        : $path eq 'rules' ? ('match[]', qw(type exclude_alerts group_limit
            group_next_token))
        : $path =~ /format|parse/ ? qw(query query)
        : $path =~ /targets/ ? qw(limit match_target state) : 'limit';
    # most are right, so that the others are reached
    my %good = (query => '1', 'match[]' => 'temp{job="db"}', limit => 5,
        step => 30, time => $now, start => $now - 60, end => $now,
        timeout => '1m', lookback_delta => '5m', match_target => 'a');
    my @pairs;
    for my $name (grep { $_ eq 'time' || rand() < 0.8 } @names) {
        my $v = rand() < 0.7 && defined $good{$name} ? $good{$name}
            : one(@{$values{$name}});
        $v = 7 if $path =~ /tsdb/ && $v =~ /^\d{5}/; # more than 3.5 survives
        $v = 5 if $name eq 'time' && $v eq '';        # now
        push @pairs, Nightlight::Test::escape($name) . '='
            . Nightlight::Test::escape($v);
    }
    push @pairs, one('%', 'x=%zz', 'a;b', '=', '&', 'x', '%71=1')
        if rand() < 0.1;
    @pairs = sort { rand() <=> 0.5 } @pairs;
    my $post = rand() < 0.3 && $path !~ /label\/|rules|targets|status/;
    my $cut = $post ? int(rand(@pairs + 1)) : @pairs;
    my ($args, $body) = (join('&', @pairs[0 .. $cut - 1]),
        join('&', @pairs[$cut .. $#pairs]));
    add($post ? 'POST' : 'GET', $path, $args, note => "with $body",
        ($post ? (headers => \%form, body => $body) : ()));
}

# ---- random expressions ----

my %has = map { my $b = $t->http('GET', '/api/v1/parse_query?'
        . Nightlight::Test::form(query => $_->[1]), port => 'prom')->{status};
        ($_->[0] => $b == 200) }
    map({ [$_, "$_(m[1m])"] } qw(first_over_time mad_over_time rate
        ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time
        ts_of_min_over_time)), ['info', 'info(m)'],
    ['double_exponential_smoothing', 'double_exponential_smoothing(m[1m], .1, .1)'],
    ['sort_by_label', 'sort_by_label(m, "a")'], ['max_of', 'max_of(1, 2)'],
    ['histogram_quantiles', 'histogram_quantiles(m, "q", .1)'];
$has{$_} = 1 for qw(avg_over_time count_over_time last_over_time
    max_over_time min_over_time present_over_time stddev_over_time
    stdvar_over_time sum_over_time changes resets deriv delta idelta irate
    increase absent_over_time histogram_avg);
# t/85 has those that are damaged
my $gen = Nightlight::Expr->new(seed => $seed, has => \%has, damage => 0);
for my $i (0 .. $n_random / 3) {
    my $query = Nightlight::Expr::text($gen->expr($i));
    add('POST', $_, '', headers => \%form, note => "with $query",
        body => Nightlight::Test::form(query => $query))
        for qw(format_query parse_query);
}

# ---- what may differ ----

# Each: name, reason, whether it explains the answers $p of Prometheus and $n of
# Nightlight to a request, and: H, status and headers may differ, too; M, it may
# not occur, by chance or by the version of Prometheus.
# The objects of a list that is all there is in a body, sorted; and the rest.
sub items {
    my ($body) = @_;
    my @l;
    $body =~ s/(?<=[\[,])(\{(?:"metric":)?\{?"(?:[^"\\]|\\.)*":.*?\})(?=,\{"|\])/
        push @l, $1; ''/ge;
    return ($body, sort @l);
}

# Is it the same but for this?
sub same_but {
    my ($p, $n, $re, $by) = @_;
    my @b = map { my $b = $_->{body}; $b =~ s/$re/$by/g; $b } $p, $n;
    return $b[0] eq $b[1];
}

my @decided = (
    ['order of equal counts', 'unspecified', sub {
        my ($p, $n, $q) = @_;
        return if $q->[5] !~ m{status/tsdb} || $p->{status} != 200;
        my @counts = map { (my $b = $_->{body}) =~ s/"name":"(?:[^"\\]|\\.)*",//g; $b }
            $p, $n;
        return if $counts[0] ne $counts[1];
        # a short list has some of those that are equal
        return 1 if ($q->[5] =~ /limit=(?:%2B|%20)*(\d+)/ ? $1 : 10) < 100;
        my ($x, $y) = map { my $d = JSON::PP->new->decode($_->{body})->{data};
            join "\n", map { my $k = $_; map { "$k $_" } sort map {
                "$_->{name} $_->{value}" } @{$d->{$k}} }
                grep { ref $d->{$_} eq 'ARRAY' } sort keys %$d } $p, $n;
        return $x eq $y;
    }, 'M'],
    ['limit of status/tsdb', 'new in 3.14', sub {
        my ($p, $n) = @_;
        return $n->{body} =~ /limit must not exceed 10000/;
    }, 'HM'],
    ['order of series', 'here they are sorted, in Prometheus they are as they '
        . 'came', sub {
        my ($p, $n, $q) = @_;
        return if $q->[5] !~ m{v1/series}i || $p->{status} != 200;
        my ($x, $y) = map { join "\n", items($_->{body}) } $p, $n;
        return 1 if $x eq $y;
        # which ones a limit leaves
        my @n = map { my @l = items($_->{body}); scalar @l } $p, $n;
        return $n[0] == $n[1] && $p->{body} =~ /"results truncated/
            && $n->{body} =~ /"results truncated/;
    }],
    ['series between samples', 'here a series has a sample in the range, in '
        . 'Prometheus a chunk', sub {
        my ($p, $n, $q) = @_;
        return if $q->[5] !~ m{v1/series.*(?:start|end)=};
        my ($rest, @l) = items($n->{body});
        my %there = map { $_ => 1 } items($p->{body});
        return !grep { !$there{$_} } @l;
    }],
    ['order of a vector', 'unspecified', sub {
        my ($p, $n) = @_;
        return if $p->{body} !~ /"resultType":"(?:vector|matrix)"/;
        my ($x, $y) = map { join "\n", items($_->{body}) } $p, $n;
        return 1 if $x eq $y;
        my @n = map { my @l = items($_->{body}); scalar @l } $p, $n;
        return $n[0] == $n[1] && $p->{body} =~ /"resultType":"vector"/
            && !grep { $_->{body} !~ /"results truncated/ } $p, $n;
    }, 'M'],
    ['which values a limit leaves', 'the first ones here, some there', sub {
        my ($p, $n, $q) = @_;
        return $q->[5] =~ m{/values\?.*limit=} && same_but($p, $n,
            qr/(?<="data":)\["[^"]*"(?:,"[^"]*")*\](?=,"warnings":\["results t)/, '');
    }, 'M'],
    ['texts of 3.5', '3.14 words them otherwise', sub {
        my ($p, $n) = @_;
        return same_but($p, $n, qr/ for metric name \\"\w*\\"| ?\\"\\u003cItem \d+\\u003e\\"/, '')
            || same_but($p, $n, qr/(?<=, expected )number.*?(?="\})|subquery (?:or range )?selector/, '')
            || same_but($p, $n, qr/(?<=operation: \[)\{.*\}(?=\];)/, '')
            || same_but($p, $n, qr/,"PromQL\ warning:\ sort\ is[^"]*"
                |,"warnings":\["PromQL\ warning:\ sort\ is[^"]*"\]/x, '');
    }, 'M'],
    ['fillValues', 'new in 3.14', sub {
        my ($p, $n) = @_;
        return same_but($p, $n, qr/"fillValues":\{"lhs":null,"rhs":null\},/, '');
    }, 'M'],
    ['U+FFFD', 'as it is or escaped, by the version of Go', sub {
        my ($p, $n) = @_;
        return same_but($p, $n, qr/\xef\xbf\xbd|\\ufffd/, '?');
    }, 'M'],
    ['NaN as a time', 'refused here, the smallest number there', sub {
        my ($p, $n, $q) = @_;
        return $q->[5] =~ /(?:time|start|end)=nan/i
            && $n->{body} =~ /cannot parse \\"nan\\" to/i;
    }, 'H'],
    ['times without end', 'beyond the years 1677 and 2262 Prometheus counts '
        . 'nanoseconds past the end of an integer', sub {
        my ($p, $n, $q) = @_;
        return $q->[5] =~ /(?:time|start|end)=(?:(?:%2B|-)?inf|-?\d{13}
            |-?29227|0000-|1677-|9999-|1e1[58])/xi;
    }, 'H'],
    ['text that reads back', 'format_query quotes labels that need it, and '
        . 'leaves out a + that is no number', sub {
        my ($p, $n, $q) = @_;
        return $q->[2] =~ /format_query/ && same_but($p, $n,
            # and a line that is longer may be broken
            qr/\\"(?=os\.name)|(?<=os\.name)\\"|\++(?=Inf \^)|\\n|\ /, '');
    }, 'M'],
    ['no time at all', 'whether a query is done within a millisecond '
        . 'depends on the machine', sub {
        my ($p, $n, $q) = @_;
        return $q->[5] =~ /timeout=(?:0s?|-1|NaN|0\.0001|1e-10|1ms)[ &]/
            && "$p->{status} $n->{status}" =~ /^(?:200|400|422|503) (?:200|400|503)$/;
    }, 'HM'],
    ['lookback below 1ms', 'what lies at the time itself is found', sub {
        my ($p, $n, $q) = @_;
        return $q->[5] =~ /lookback_delta=0\.0001/ && $n->{status} == 200;
    }],
    ['redirects', 'nginx has a path as the client meant it, and nothing is '
        . 'behind a slash', sub {
        my ($p, $n) = @_;
        return $p->{status} =~ /30[17]/ && $n->{status} == 404;
    }, 'H'],
    ['paths that nginx refuses', 'zero bytes and broken escapes', sub {
        my ($p, $n, $q) = @_;
        return $n->{status} == 400 && $n->{body} =~ /<html>/
            && $q->[5] =~ /%00|%zz/;
    }, 'H'],
    ['a raw # in a request', 'no client sends it: nginx ends there', sub {
        my ($p, $n, $q) = @_;
        return $q->[1] eq 'GET' && $q->[5] =~ /#/;
    }],
    ['broken media types', 'of a form are taken here, others are no form', sub {
        my ($p, $n, $q) = @_;
        return $q->[0] =~ /; a=b; a=c$/
            || $p->{body} =~ /error parsing form values: mime: /;
    }, 'H'],
    ['DELETE series', 'is not even a method here', sub {
        my ($p, $n, $q) = @_;
        return $n->{status} == 405 && ($p->{body} =~ /"not implemented"/
            || ($p->{headers}{allow} // '') =~ /^DELETE, GET/);
    }, 'H'],
    ['HEAD', 'has the headers of GET', sub {
        my ($p, $n, $q) = @_;
        return $q->[1] eq 'HEAD' && $p->{status} == $n->{status};
    }, 'H'],
);

my %headers = map { $_ => 1 } qw(content-type allow vary
    x-content-type-options access-control-allow-headers location
    access-control-allow-methods access-control-allow-origin
    access-control-expose-headers);

# An answer as text.
sub shown {
    my ($r) = @_;
    return "$r->{status}\n" . join('', map { "$_: $r->{headers}{$_}\n" }
        grep { $headers{$_} } sort keys %{$r->{headers}}) . "\n$r->{body}";
}

# What is different by nature: who is ready, and what each says of itself.
sub normal {
    my ($r) = @_;
    my %r = (%$r, headers => { %{$r->{headers}} });
    $r{body} =~ s/^Prometheus Server is/Nightlight is/;
    $r{body} =~ s/^(\{"status":"success","data":\{)"version":.*/$1.../;
    $r{body} =~ s/("name":")\d{8}T\d{6}Z-[0-9a-f]{16}"/$1..."/;
    return \%r;
}

my $only = $ENV{NLT_DIFF_ONLY};
my $max = $ENV{NLT_DIFF_FAILS} || 10;
my (%conn, %explained);
my ($n_same, $n_differ) = (0, 0);

sub ask {
    my ($port, $method, $uri, $headers, $body) = @_;
    $body //= '' if $method =~ /POST|PUT|PATCH/;
    return $t->http($method, $uri, port => $port, headers => $headers,
        body => $body);
}

for my $q (@requests) {
    my ($name, @request) = @$q;
    next if defined $only && $name !~ /$only/;
    my ($p, $n) = map { normal(ask($_, @request)) } qw(prom http);
    my ($x, $y) = (shown($p), shown($n));
    if (defined $only) {
        note("$name\nPrometheus: $x\nNightlight: $y");
    }
    if ($x eq $y) {
        $n_same++;
        next;
    }
    my $like = !grep { ($p->{headers}{$_} // '') ne ($n->{headers}{$_} // '') }
        keys %headers;
    $like &&= $p->{status} == $n->{status};
    my ($why) = grep { ($like || ($_->[3] // '') =~ /H/) && $_->[2]->($p, $n, $q) } @decided;
    if ($why) {
        $explained{$why->[0]}++;
        next;
    }
    $n_differ++;
    fail($name);
    note("Prometheus: $x\nNightlight: $y");
    last if $n_differ >= $max;
}
ok(!$n_differ, @requests . " requests, $n_same with the same answer");
for my $d (defined $only ? () : @decided) {
    my $k = $explained{$d->[0]} || 0;
    ok($k || ($d->[3] // '') =~ /M/, "$k $d->[0]: $d->[1]");
}
$t->done();
