#!/usr/bin/perl
# /federate: what is in it, its text, escaping, mistakes.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;

*form = \&Nightlight::Test::form;

my $t = Nightlight::Test->new();
$t->write_conf(locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /federate     { nightlight_query main; }
        location = /prom/federate { nightlight_query main; nightlight_lookback 10s; }
        location = /two/federate { nightlight_query main; nightlight_query_max_series 2; }
EOL
$t->run();

sub get {
    my ($args, %p) = @_;
    return $t->http($p{method} || 'GET', ($p{uri} || '') . '/federate'
        . ($args ne '' ? "?$args" : ''), headers => $p{headers});
}
sub match { return join '&', map { form('match[]' => $_) } @_ }

my $now = int(time()) * 1000;
my $STALE = "\x02\0\0\0\0\0\xf0\x7f";
for my $s (
    [{ __name__ => 'm', instance => 'i:1', job => 'x' }, [$now - 9000, 1],
        [$now - 5000, 1000000]],
    [{ __name__ => 'm', job => 'y' }, [$now - 5000, -0.0]],
    [{ __name__ => 'm', Job => "a\"b\\c\nd" }, [$now - 1000, 1e-5]],
    [{ __name__ => 'gone', a => 1 }, [$now - 5000, 1], [$now - 4000, \$STALE]],
    [{ __name__ => 'old', a => 1 }, [$now - 320_000, 1]],
    [{ __name__ => 'late', a => 1 }, [$now - 30_000, 'inf']],
    [{ __name__ => 'a:rule' }, [$now - 2000, 0.1]],
    [{ __name__ => "dotted.name_\x{e9}", "l.b" => "\x{2603}" }, [$now - 1, 'nan']],
    [{ nameless => 'x' }, [$now - 1000, 1]],
) {
    is($t->write(@$s), 204, 'written');
}

my %t = map { $_ => $now - $_ } 1, 1000, 2000, 5000, 30_000;
my $M = <<"EOF";
# TYPE m untyped
m{Job="a\\"b\\\\c\\nd",instance=""} 1e-05 $t{1000}
m{instance="i:1",job="x"} 1e+06 $t{5000}
m{job="y",instance=""} 0 $t{5000}
EOF

my $r = get(match('m'));
is("$r->{status} $r->{headers}{'content-type'}", '200 text/plain; version=0.0.4; '
    . 'charset=utf-8; escaping=underscores', 'status and type');
is($r->{body}, $M, 'the newest samples');
is(get(match('gone'))->{body}, '', 'stale');
is(get(match('old'))->{body}, '', 'too old');
is(get(match('{nameless="x"}'))->{body}, '', 'without a name');
is(get(match('late'))->{body},
    "# TYPE late untyped\nlate{a=\"1\",instance=\"\"} +Inf $t{30000}\n", 'infinite');
is(get(match('late'), uri => '/prom')->{body}, '', 'nightlight_lookback');
is(get(match('m{job="y"}', '{job=~"x|y"}'))->{body}, do { (my $b = $M) =~
    s/^.*Job.*\n//m; $b }, 'selectors are united');
is(get('')->{body}, '', 'no selector');

is(get(match('{}'))->{body}, '', 'an empty selector');
my $all = get(match('{__name__=~".*"}'))->{body};
is(join(' ', $all =~ /^# TYPE (\S+) untyped$/mg),
    'a:rule dotted_name__ late m', 'all of it, sorted by name');

# ---- names that not everybody can read ----

my $e = "\xc3\xa9";
for my $c (
    ['', 'underscores', 'dotted_name__{l_b='],
    ['text/plain', 'underscores', 'dotted_name__{l_b='],
    ['text/plain;escaping=nonsense', 'underscores', 'dotted_name__{l_b='],
    ['text/plain; escaping=allow-utf-8', 'allow-utf-8',
        "{\"dotted.name_$e\",\"l.b\"="],
    ['text/plain;escaping=dots', 'dots', 'dotted_dot_name____{l_dot_b='],
    ['text/plain;escaping=values', 'values', 'U__dotted_2e_name___e9_{U__l_2e_b='],
    ['application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,'
        . 'text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.1',
        'allow-utf-8', "{\"dotted.name_$e\",\"l.b\"="],
    ['text/plain;q=0.1;escaping=values, text/plain;version=0.0.4;q=0.5;'
        . 'escaping=dots', 'dots', 'dotted_dot_name____{l_dot_b='],
    ['a/b;q=NaN;escaping=values, */*;q=NaN, text/plain;q=0.5;escaping=dots',
        'dots', 'dotted_dot_name____{l_dot_b='],
) {
    my ($accept, $scheme, $text) = @$c;
    my $r = get(match('{"l.b"!=""}'), headers => { Accept => $accept });
    is($r->{headers}{'content-type'}, "text/plain; version=0.0.4; "
        . "charset=utf-8; escaping=$scheme", "type for $accept");
    like($r->{body}, qr/^\Q$text\E"\xe2\x98\x83",instance=""\} NaN \d+$/m,
        "names for $accept");
}

# a header that is as long as it may be, of the shortest clauses, ten times
{
    my $from = time();
    my ($n, $type) = (0, '');
    for my $i (1 .. 10) {
        my $r = get(match('{"l.b"!=""}'), headers => { Accept =>
            ',' x 7900 . 'a/b;escaping=dots' });
        $n += $r->{status} == 200;
        $type = $r->{headers}{'content-type'};
    }
    is($n, 10, 'thousands of clauses are looked at');
    like($type, qr/escaping=dots$/, 'the last one too');
    cmp_ok(time() - $from, '<', 10, 'and not each with all others');
}

# ---- mistakes and limits ----

for my $c (
    [match('{'), 400, "1:2: parse error: unexpected end of input inside braces\n"],
    [match('m', 'm{a=~"("}'), 400, qr/^error parsing regexp|1:.*missing closing/],
    [match('{__name__!=""}'), 422, "query selects too many series "
        . "(nightlight_query_max_series is 2)\n", '/two'],
) {
    my ($args, $status, $text, $uri) = @$c;
    my $r = get($args, uri => $uri);
    is($r->{status}, $status, "$args");
    ref $text ? like($r->{body}, $text, 'why') : is($r->{body}, $text, 'why');
    is($r->{headers}{'content-type'}, 'text/plain; charset=utf-8', 'as text');
}
for my $method (qw(HEAD POST DELETE)) {
    my $r = get(match('m'), method => $method);
    is("$r->{status} $r->{headers}{allow}", '405 GET, OPTIONS', $method);
}

# ---- many: several parts, each series once ----

my $pb = join '', map { Nightlight::Test::series_pb({ __name__ => 'many',
    i => $_, pad => 'x' x 60 }, [$now - 1000, $_]) } 0 .. 39_999;
is($t->write_pb($pb)->{status}, 204, 'many series');
my @lines = split /\n/, get(match('many'))->{body};
is(shift @lines, '# TYPE many untyped', 'one family');
is(scalar @lines, 40_000, 'all of them');
is(join("\n", @lines[0 .. 2]), join("\n", map { "many{i=\"$_\",pad=\"" . 'x' x 60
    . "\",instance=\"\"} $_ $t{1000}" } 0, 1, 10), 'sorted');
my $unsorted = grep { ($lines[$_] =~ /i="(\d+)"/)[0] le
    ($lines[$_ - 1] =~ /i="(\d+)"/)[0] } 1 .. $#lines;
is($unsorted, 0, 'to the end, over several looks');

$t->done();
