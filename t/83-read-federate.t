#!/usr/bin/perl
# The same remote_read requests and /federate scrapes of Nightlight and of a
# real Prometheus that was sent the same data: the same series and samples in
# both kinds of answers, the same errors, the same text.
#
# equal before they are compared.  Native histograms are not asked for.
#
#   TEST_PROMETHEUS35=...   the Prometheus, 3.0 at least; or that of PATH
#   NLT_TEST_SEED=7 NLT_DIFF_N=300   seed, number of random requests
use strict;
use warnings;
no warnings 'portable';
use Test::More;
use Time::HiRes qw(time);
use Nightlight::Test;
use Nightlight::Expr;
use Nightlight::Read qw(request samples chunks text);

binmode $_, ':utf8' for Test::More->builder->output,
    Test::More->builder->failure_output;

*snappy = \&Nightlight::Test::snappy;

my $t = Nightlight::Test->new();
my $prometheus = $ENV{TEST_PROMETHEUS35} || $ENV{TEST_PROMETHEUS}
    || $t->program('prometheus');
plan(skip_all => 'no prometheus') unless $prometheus;
my ($version) = `$prometheus --version 2>&1` =~ /version (\d+\.\d+)/;
plan(skip_all => 'prometheus ' . ($version || '?') . ' is older than 3')
    if !$version || $version < 3;

my $seed = $ENV{NLT_TEST_SEED} || 1;
my $n = $ENV{NLT_DIFF_N} || 300;
note("NLT_TEST_SEED=$seed, $n requests, prometheus $version");
srand($seed);

$t->write_conf(locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /-/             { nightlight_status main; }
        location = /federate     { nightlight_query main; }
EOL
$t->run();
$t->write_file('prometheus.yml', "global: {scrape_interval: 1m}\n");
$t->spawn($prometheus, '--config.file=' . $t->dir . '/prometheus.yml',
    '--storage.tsdb.path=' . $t->dir . '/prometheus',
    '--web.listen-address=127.0.0.1:' . $t->port('prom'),
    '--storage.tsdb.retention.time=100y', '--web.enable-remote-write-receiver',
    '--log.level=error');
$t->wait_for(sub { my $r = eval { $t->http('GET', '/-/ready', port => 'prom') };
    $r && $r->{status} == 200 }, 'prometheus ready', 60)
    or BAIL_OUT($t->read_file('logs/prometheus.log'));

# ---- the data: that of the random expressions, and what is new now ----

my $gen = Nightlight::Expr->new(seed => $seed, has => {});
my @series = $gen->data();
my ($t_min, $t_max) = (2 ** 60, 0);
my (%values, @names);
{
    my $pb = '';
    for my $s (@series) {
        my ($labels, @samples) = @$s;
        my %l = ref $labels eq 'HASH' ? %$labels : map { @$_ } @$labels;
        $values{$_}{$l{$_}} = 1 for keys %l;
        $pb .= Nightlight::Test::series_pb($labels,
            map { [$_->[0], \$_->[1]] } @samples);
        for (@samples) {
            $t_min = $_->[0] if $_->[0] < $t_min;
            $t_max = $_->[0] if $_->[0] > $t_max;
        }
    }
    my $body = snappy($pb);
    is($t->write_raw($body)->{status}, 204, scalar(@series) . ' series');
    is($t->write_raw($body, port => 'prom')->{status}, 204, 'and for Prometheus');
}

# ---- remote_read ----

sub post {
    my ($port, $body) = @_;
    return $t->http('POST', '/api/v1/read', port => $port, body => $body, headers => {
        'Content-Type' => 'application/x-protobuf', 'Content-Encoding' => 'snappy',
        'X-Prometheus-Remote-Read-Version' => '0.1.0' });
}

# Results as text, what lies outside of the ranges left out.
sub normal {
    my ($results, $queries, $sort) = @_;
    my @out;
    for my $i (0 .. $#$queries) {
        my ($from, $to, @more) = @{$queries->[$i]};
        my ($hints) = grep { ref $_ eq 'HASH' } @more;
        if ($hints && defined $hints->{start}) {
            $from = $hints->{start} if $hints->{start} > $from;
            $to = $hints->{end} if $hints->{end} < $to;
        }
        my $names = $hints && ($hints->{func} || '') eq 'series';
        my @kept;
        for my $s (@{$results->[$i] || []}) {
            my @in = grep { $_->[0] >= $from && $_->[0] <= $to } @{$s->{samples}};
            push @kept, { %$s, samples => \@in } if @in || $names;
        }
        my @text = map { text([$_], $names) } @kept;
        s/:80{15}(?= |$)/:0000000000000000/mg for $sort ? @text : ();
        @text = sort @text if $sort;
        push @out, join '', @text;
    }
    return join "--\n", @out;
}

my @queries = ([$t_min, $t_max]);
my ($n_same, $n_series, $n_errors) = (0, 0, 0);
my $failed = 0;

sub compare {
    my ($queries, $types, $what) = @_;
    my $body = snappy(request($queries, types => $types));
    my ($got, $want) = map { post($_, $body) } 'http', 'prom';
    if ($want->{status} != 200) {
        $n_errors++;
        return "$got->{status} $got->{body}" eq "$want->{status} $want->{body}" ? ''
            : "$got->{status} $got->{body}, not $want->{status} $want->{body}";
    }
    return "status $got->{status} $got->{body}" if $got->{status} != 200;
    for my $h ('content-type', 'content-encoding') {
        my ($x, $y) = map { $_->{headers}{$h} || '' } $got, $want;
        return "$h $x, not $y" if $x ne $y;
    }
    my ($x, $y) = map { my $r = $_;
        my $d = eval { $r->{headers}{'content-type'} =~ /streamed/
            ? chunks($r->{body}, scalar @$queries) : samples($r->{body}) };
        defined $d ? normal($d, $queries,
            $r->{headers}{'content-type'} !~ /streamed/) : "broken: $@" } $got, $want;
    $n_series += () = $y =~ /\n/g;
    if ($x eq $y) {
        $n_same++;
        return '';
    }
    my @x = split /\n/, $x;
    my @y = split /\n/, $y;
    for my $i (0 .. (@x > @y ? $#x : $#y)) {
        my ($p, $q) = map { defined $_ ? $_ : 'nothing' } $x[$i], $y[$i];
        next if $p eq $q;
        my $j = length(($p ^ $q) =~ m{^(\0*)} ? $1 : "");
        $j = $j > 40 ? $j - 40 : 0;
        return "line $i: " . substr($p, $j, 200) . "\n  not: " . substr($q, $j, 200);
    }
}

sub one { return $_[rand @_] }

my @labels = sort keys %values;

sub random_matcher {
    my $name = rand() < 0.1 ? 'nothing' : one(@labels);
    my @v = sort keys %{$values{$name} || { x => 1 }};
    my $op = one(qw(= != =~ !~));
    my $value = rand() < 0.1 ? '' : one(@v);
    if ($op =~ /~/) {
        $value = quotemeta($value) =~ s/\\([^\x00-\x7f]|[\w ])/$1/gr;
        $value = rand() < 0.4 ? $value : rand() < 0.5 ? "$value|" . quotemeta(one(@v))
            =~ s/\\([^\x00-\x7f]|[\w ])/$1/gr : substr($value, 0, 1) =~ /\w/
            ? substr($value, 0, 1) . '.*' : '.+';
    }
    return [$op, $name, $value];
}

sub random_time { return $t_min - 60_000 + int rand($t_max - $t_min + 120_000) }

sub random_query {
    my @t = sort { $a <=> $b } map { random_time() } 1, 2;
    @t = (0, $t_max) if rand() < 0.3;
    my @m = map { random_matcher() } 1 .. 1 + int rand 2;
    unshift @m, ['=', '__name__', one(sort keys %{$values{__name__}})]
        if rand() < 0.5;
    my @h;
    if (rand() < 0.3) {
        # ranges inside of the query's, as the hints of a real client
        my @r = sort { $a <=> $b } map { $t[0] + int rand($t[1] - $t[0] + 1) } 1, 2;
        @r = @t if rand() < 0.3;
        $r[0] ||= 1;
        @h = ({ step => 1000 * int rand 100, func => one('', 'rate', 'sum'),
            start => $r[0], end => $r[1], range => 60_000, by => int rand 2,
            grouping => [one(@labels)] });
        $t[0] = 1 if $t[0] == 0;
    }
    return [@t, @m, @h];
}

for my $i (1 .. $n) {
    my @q = map { random_query() } 1 .. 1 + int rand 2;
    for my $types ([], [1]) {
        my $diff = compare(\@q, $types);
        next if $diff eq '';
        next if ++$failed > 5;
        fail("request $i, types @$types");
        diag($diff);
        diag(join "\n", map { join ' ', map { ref $_ eq 'ARRAY' ? "@$_"
            : ref $_ ? '{' . join(' ', map { ref $_ ? "@$_" : $_ } %$_) . '}' : $_ }
            @$_ } @q);
    }
}
is($failed, 0, "$n_same answers with $n_series series are the same");
cmp_ok($n_series, '>', $n, 'they say something');

for my $types ([], [1]) {
    is(compare([[1, $t_max, ['=~', '__name__', '.+'], { func => 'series',
        start => 1, end => $t_max }]], $types), '', "label sets only, types @$types");
    is(compare([[1, $t_max]], $types), '', 'no matcher');
}

for my $c (
    ['', 'empty'], ['hello', 'garbage'], [snappy("\x0a\x05\x08"), 'cut off'],
    [snappy("\x08\x01"), 'wrong type'], [snappy("\x0a\x00"), 'an empty query'],
    [snappy(request([[1, 2, ['=', 'a', 'b']]], types => [9, 4])), 'other types'],
    [snappy(request([[1, 2, [7, 'a', 'b']]])), 'no such matcher'],
    [snappy(request([[1, 2, [7, 'a', 'b']]], types => [8])), 'which mistake first'],
    [snappy(request([[1, 2, ['=~', 'a', '*']]])), 'regular expression'],
    [snappy(request([[1, 2, ['!~', 'a', '[z-a]']]], types => [1])), 'streamed'],
    [snappy(request([])), 'nothing'], [snappy(request([], types => [1])), 'nothing'],
) {
    my ($got, $want) = map { post($_, $c->[0]) } 'http', 'prom';
    is("$got->{status} $got->{body}", "$want->{status} $want->{body}", $c->[1]);
}

# ---- federate ----

my $now = int(time() * 1000);
{
    my $pb = '';
    my $i = 0;
    for my $v (0, -0.0, 1, -1, 'inf', '-inf', 'nan', 1e6, 999999, 123456.789, 1e-4, 1e-5,
        0.1, 1 / 3, 1e21, 1e300, 5e-324, -2.5e-7, map { (rand() - 0.5)
        * 10 ** int(rand(40) - 20) } 1 .. 40)
    {
        $i++;
        $pb .= Nightlight::Test::series_pb({ __name__ => 'f' . $i % 7,
            i => sprintf('%03d', $i), ($i % 3 ? (instance => "h$i") : ()),
            ($i % 5 ? () : (A => "q\"b\\n\n\x{263a}")) }, [$now - 1000 * $i, $v]);
    }
    $pb .= Nightlight::Test::series_pb($_->[0], [$now - 700, $_->[1]]) for
        [{ __name__ => "utf.\x{e9} \"x\"", 'l.b' => 'v', "\x{2603}_:" => 'w' }, 1],
        [{ __name__ => 'a:b_c', 'd:e' => 'v', '__under' => 'x', _1 => 'y' }, 2],
        [{ __name__ => '1digit.s_', '2' => 'z' }, 3],
        [{ __name__ => 'stale', x => 'y' }, 4],
        [{ nameless => 'z' }, 5];
    $pb .= Nightlight::Test::series_pb({ __name__ => 'stale', x => 'y' },
        [$now - 600, \"\x02\0\0\0\0\0\xf0\x7f"]);
    my $body = snappy($pb);
    is($t->write_raw($body, port => $_)->{status}, 204, "new samples for $_")
        for 'http', 'prom';
}

for my $accept ('', 'text/plain', '*/*', 'text/plain;version=0.0.4',
    'text/plain; escaping=allow-utf-8', 'text/plain;escaping=underscores',
    'text/plain;escaping=dots', 'text/plain;escaping=values',
    'text/plain;escaping=none', 'text/plain;version=9', 'text/html;escaping=dots',
    'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,'
        . 'application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;'
        . 'escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
    'text/plain;escaping=dots;q=0.2,text/plain;version=1.0.0;escaping=values;q=0.9')
{
    for my $match (['{__name__=~".+"}'], ['f1', 'f2{i!="002"}', 'f1'], ['{nameless="z"}'],
        ['{"utf.' . "\xc3\xa9" . ' \\"x\\""}'], ['{}'], [])
    {
        my $uri = '/federate?' . join '&', map { 'match[]=' . Nightlight::Test::escape($_) }
            @$match;
        my ($got, $want) = map { $t->http('GET', $uri, port => $_, headers =>
            $accept eq '' ? {} : { Accept => $accept }) } 'http', 'prom';
        my $what = "$accept @$match";
        is("$got->{status} $got->{headers}{'content-type'}",
            "$want->{status} $want->{headers}{'content-type'}", "type: $what");
        $_->{body} = join '', map { my ($type, @lines) = split /(?<=\n)/;
            $type, sort @lines } split /(?=^# TYPE)/m, $_->{body} for $got, $want;
        my $j = length(($got->{body} ^ $want->{body}) =~ m{^(\0*)} ? $1 : '') - 60;
        $j = 0 if $j < 0;
        ok($got->{body} eq $want->{body}, "text: $what")
            or diag(substr($got->{body}, $j, 200) . "\n  not:\n"
                . substr($want->{body}, $j, 200));
    }
}
for my $args ('match[]={', 'match[]=f1&match[]=f1{', 'match[]=f1{a=~"("}', 'match[]=1',
    'match[]=rate(f1[5m])', 'match[]=')
{
    my ($got, $want) = map { $t->http('GET', '/federate?' . ($args =~ s/([{}("~\[\]])(?!\])/
        $1 eq '[' || $1 eq ']' ? $1 : sprintf '%%%02x', ord $1/ger), port => $_) }
        'http', 'prom';
    is("$got->{status} $got->{body}", "$want->{status} $want->{body}", "error: $args");
}

$t->done();
