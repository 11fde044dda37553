#!/usr/bin/perl
# Wrong queries, and queries that get warnings and infos: texts, positions and
# status as in the real Prometheus, also over several lines, behind comments
# and among UTF-8.  Queries are in promql/texts.txt.  TEST_PROMETHEUS as in t/85.
use strict;
use warnings;
use FindBin;
use Test::More;
use Nightlight::Test;
use Nightlight::Expr;
use Nightlight::Oracle;

binmode $_, ':utf8' for Test::More->builder->output,
    Test::More->builder->failure_output, Test::More->builder->todo_output;

my $t = Nightlight::Test->new();
my $o = Nightlight::Oracle->new($t) or plan(skip_all => $@);

my $pb = '';
for my $s (Nightlight::Expr->new(seed => 3, has => $o->{has})->data()) {
    my ($labels, @samples) = @$s;
    $pb .= Nightlight::Test::series_pb($labels, map { [$_->[0], \$_->[1]] } @samples);
}
is(join(' ', $o->write(Nightlight::Test::snappy($pb))), '204 204 204', 'data');

# What is said beside the values: an error with its status, or notes.
sub said {
    my ($r, $kind) = @_;
    return "$r->{status} $r->{body}" if $kind eq 'value';
    return "$r->{status} $1" if $r->{body} =~ /"error":"((?:[^"\\]|\\.)*)"/;
    my @notes;
    for my $kind ('warnings', 'infos') {
        $r->{body} =~ /"$kind":\[((?:"(?:[^"\\]|\\.)*",?)*)\]/ or next;
        push @notes, sort(my @l = $1 =~ /"((?:[^"\\]|\\.)*)"/g);
    }
    return join ' | ', @notes;
}

# errors, notes, values at the ends of time: query [ "==>" what is said here, and not in Prometheus 3.5 ]
my %count;
my $kind = '';
open my $table, '<:encoding(UTF-8)', "$FindBin::Bin/promql/texts.txt" or die $!;
while (my $line = <$table>) {
    chomp $line;
    if ($line =~ /^## (\w+)/) { $kind = $1; next }
    next if $line eq '' || $line =~ /^# /;
    my ($query, $own) = split / ==> /, $line, 2;
    $query =~ s/\\n/\n/g;
    $query =~ s/\\t/\t/g;
    my @bad;
    for my $mode ('prom', 'delayed') {
        $o->{mode} = $mode;
        for my $how (['query', time => 1700001500],
            ['query_range', start => 1700001200, end => 1700001500, step => 60])
        {
            my ($path, @when) = @$how;
            my ($x, $y) = map { said($_, $kind) } $o->nightlight($path, query => $query, @when),
                $o->prometheus($path, query => $query, @when);
            $count{$kind}++ if $kind eq 'error' ? $x =~ /^4/ : $x =~ /PromQL/;
            if (defined $own) {
                $x =~ s/^400 invalid parameter \\"query\\": //;
                $x =~ s/\\"/"/g;
                $x =~ s/\\u003([ce])/$1 eq 'c' ? '<' : '>'/ge;
                push @bad, "$path, $mode: $x\n not $own" if $x ne $own;
                push @bad, "$path, $mode: the same in Prometheus"
                    if $o->{version} <= 3.5 && $y =~ /\Q$own\E$/;
            } else {
                push @bad, "$path, $mode: $x\n not $y" if $x ne $y;
            }
        }
    }
    (my $name = $line) =~ s/#/\\#/g;
    is(join("\n", @bad), '', "said of $name");
}
# most are what they are meant to be, asked in four ways
cmp_ok($count{error}, '>', 900, 'errors');
cmp_ok($count{note}, '>', 150, 'notes');
$t->expect_log(qr/^parser panic: runtime error/);    # of Prometheus
$t->done();
