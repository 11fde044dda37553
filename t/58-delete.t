#!/usr/bin/perl
# delete_series and clean_tombstones: at once in every worker, over head and
# blocks, through reload and kill -9, gone from the disk, never resurrected,
# and exact about what is written afterwards.
use strict;
use warnings;
use File::Find;
use IO::Handle;
use Test::More;
use Time::HiRes qw(time sleep);
use Nightlight::Test;

my $t = Nightlight::Test->new(formats => 1);
$t->expect_log(qr/exited on signal 9/, qr/open socket #\d+ left/);
$t->write_conf(main => 'worker_processes 3;', server => 'add_header X-Worker $pid always;',
    locations => <<'EOL');
        location = /api/v1/write { nightlight_write main; }
        location /api/v1/        { nightlight_query main; }
        location /api/v1/admin/  { nightlight_admin main; }
        location /-/             { nightlight_status main; }
        location = /metrics      { nightlight_metrics main; }
EOL
$t->run();

my $now = int(time() / 60) * 60;
my $t0 = $now - 3600;               # samples each 15 s from here on
my $needle = 'needle-in-the-stack';

# ---- asking ----

# What every worker answers; a hash of pid to body.
sub everywhere {
    my ($uri) = @_;
    my %seen;
    my %want = map { $_ => 1 } $t->workers();
    $t->wait_for(sub {
        my $r = $t->http('GET', $uri);
        $seen{$r->{headers}{'x-worker'}} ||= $r->{body};
        return !grep { !$seen{$_} } keys %want;
    }, "an answer of each worker", 30);
    return %seen;
}

# "labels=count" of all series, as each worker sees them.
sub counts {
    my ($query) = @_;
    my $q = "count_over_time($query\[2h])";
    my %seen = everywhere('/api/v1/query?'
        . Nightlight::Test::form(query => $q, time => $now));
    my %text;
    for my $pid (keys %seen) {
        my $r = JSON::PP->new->decode($seen{$pid});
        my $text = join ' ', sort map { my $m = $_->{metric};
            join(',', map { "$_:$m->{$_}" } sort keys %$m) . "=$_->{value}[1]" }
            @{$r->{data}{result} || [{ metric => { error => $seen{$pid} } }]};
        push @{$text{$text}}, $pid;
    }
    return join ' | ', sort keys %text;
}

sub admin {
    my ($what, @p) = @_;
    return $t->http('POST', "/api/v1/admin/tsdb/$what", body => @p
        ? Nightlight::Test::form(@p) : '', headers => { 'Content-Type' =>
        'application/x-www-form-urlencoded' }, timeout => 60);
}

sub deletes {
    my ($what, @p) = @_;
    my $r = admin('delete_series', @p);
    is($r->{status}, 204, $what) or diag($r->{body});
    is($r->{body}, '', 'and nothing more');
}

sub flush {
    my $n = $t->metric('nightlight_flushes_total');
    $t->http('POST', '/-/flush');
    return $t->wait_for(sub { $t->metric('nightlight_flushes_total') > $n },
        'a flush', 20);
}

# Files of the store that have these bytes.
sub files_with {
    my ($bytes) = @_;
    my @found;
    find({ no_chdir => 1, wanted => sub {
        return unless -f $_;
        open(my $f, '<:raw', $_) or return;
        local $/;
        my $data = <$f>;
        push @found, $_ if defined $data && index($data, $bytes) >= 0;
    } }, $t->dir . '/store');
    return sort @found;
}

# ---- samples in blocks and in the head ----

sub minutes {
    my ($from, $to, $value) = @_;
    return map { [($t0 + 15 * $_) * 1000, $value] } $from .. $to;
}

sub write_all {
    my ($from, $to) = @_;
    is($t->write({ __name__ => 'm', job => 'api', i => '0' }, minutes($from, $to, 1),
        { __name__ => 'm', job => 'api', i => '1' }, minutes($from, $to, 1),
        { __name__ => 'm', job => 'db' }, minutes($from, $to, 1),
        { __name__ => 'only', job => $needle, extra => "x" }, minutes($from, $to, 1)),
        204, 'written');
}

write_all(0, 99);
ok(flush(), 'in blocks');
write_all(100, 199);
is(counts('m'), 'i:0,job:api=200 i:1,job:api=200 job:db=200',
    'all there in every worker');

# ---- at once, over both ---

deletes('delete of a range over block and head', 'match[]' => 'm{job="api"}',
    start => $t0 + 15 * 50, end => $t0 + 15 * 149);
is(counts('m'), 'i:0,job:api=100 i:1,job:api=100 job:db=200',
    'is seen by every worker at once');
is($t->write({ __name__ => 'm', job => 'api', i => '1' }, minutes(100, 109, 7)),
    204, 'some of it is written again');
is($t->write({ __name__ => 'm', job => 'api', i => '1' }, minutes(60, 64, 7)),
    204, 'also of what is in blocks');
my $after = 'i:0,job:api=100 i:1,job:api=115 job:db=200';
is(counts('m'), $after, 'and lives');
is($t->value('sum_over_time(m{i="1"}[2h])', time => $now), '205',
    'with its new values');

deletes('delete of a whole series', 'match[]' => "{job=\"$needle\"}");
is(counts('only'), '', 'which is gone');
is(counts('m'), $after, 'and no other is');
for my $ask (['labels', ['__name__', 'i', 'job']],
    ['label/job/values', ['api', 'db']], ['label/__name__/values', ['m']])
{
    for my $p ([], ['match[]' => '{job=~".+"}'], [start => $t0, end => $now]) {
        my $r = $t->api($ask->[0], @$p);
        is_deeply($r->{data}, $ask->[1], "$ask->[0] @$p does not know it")
            or diag(explain($r));
    }
}
is(scalar @{$t->api('series', 'match[]' => '{job=~".+"}')->{data}}, 3,
    'nor does series');

# ---- through everything ----

$t->reload();
is(counts('m'), $after, 'the same after a reload');
is(counts('only'), '', 'gone after a reload');
$t->kill9_all();
$t->run();
is(counts('m'), $after, 'the same after kill -9 of everything');
is(counts('only'), '', 'gone after kill -9');
is($t->write({ __name__ => 'm', job => 'api', i => '0' }, minutes(120, 129, 9)),
    204, 'more of it is written again');
$after =~ s/job:api=100/job:api=110/;
$t->kill9_all();
unlink glob $t->dir . '/head/*';
$t->run();
is(counts('m'), $after, 'the same from the logs');
is(counts('only'), '', 'nothing comes back from the logs');
is($t->value('max_over_time(m{i="0"}[2h])', time => $now), '9',
    'what was written again does');

# ---- from the disk ----

ok(flush(), 'all in blocks');
my @with = files_with($needle);
cmp_ok(scalar @with, '>', 0, 'a block still has the name');
my $r = admin('clean_tombstones');
is($r->{status}, 204, 'clean_tombstones') or diag($r->{body});
is(counts('m'), $after, 'the same afterwards');
# the directories of blocks go a moment after nobody is told of them any more
ok($t->wait_for(sub { !files_with($needle) }, 'files without it'),
    'no file of the store has the name') or diag(join "\n", files_with($needle));
is($t->read_file('store/DELETES') =~ /^delete/m ? 'some' : 'none', 'none',
    'no rule is left');
is($t->write({ __name__ => 'only', job => $needle }, minutes(0, 4, 1)), 204,
    'the series is written again');
is(counts('only'), "job:$needle=5", 'and is there');

# ---- requests ----

sub refused {
    my ($what, $status, $type, $error, @p) = @_;
    my $r = admin('delete_series', @p);
    is($r->{status}, $status, $what);
    my $json = eval { JSON::PP->new->decode($r->{body}) } || {};
    is($json->{errorType}, $type, "$what: $type");
    is($json->{error}, $error, "$what: text");
}

refused('no match[]', 400, 'bad_data', 'no match[] parameter provided');
refused('no match[], but times', 400, 'bad_data', 'no match[] parameter provided',
    start => 'x');
refused('bad start', 400, 'bad_data', q{invalid parameter "start": invalid time }
    . q{value for 'start': cannot parse "x" to a valid timestamp},
    'match[]' => 'm', start => 'x');
refused('bad end', 400, 'bad_data', q{invalid parameter "end": invalid time }
    . q{value for 'end': cannot parse "x" to a valid timestamp},
    'match[]' => 'm', end => 'x');
refused('bad matcher', 400, 'bad_data', q{invalid parameter "match[]": 1:3: parse }
    . q{error: unexpected end of input inside braces}, 'match[]' => 'm{');
refused('a good one and a bad one', 400, 'bad_data', q{invalid parameter "match[]": }
    . q{1:3: parse error: unexpected end of input inside braces},
    'match[]' => ['{job="db"}', 'm{']);
is($t->value('count_over_time(m{job="db"}[2h])', time => $now), '200',
    'of which neither is deleted');
# such a rule would have every query of the series fail, and no merge end
my $slow = 'a' x 60 . '!';
is($t->write({ __name__ => 'slow', x => $slow }, minutes(0, 4, 1)), 204, 'written');
for my $where (qw(head block)) {
    ok(flush(), 'flushed') if $where eq 'block';
    refused("an expression that never ends, in the $where", 422, 'execution',
        'regular expression "(a+)+[bc]" takes too long on a value of label "x"',
        'match[]' => 'slow{x=~"(a+)+[bc]"}');
    is($t->value('count_over_time(slow[2h])', time => $now), '5', 'nothing happened');
}
deletes('it goes by another', 'match[]' => 'slow{x=~"a+!"}');
is(counts('slow'), '', 'gone');
$r = $t->http('POST', '/api/v1/admin/tsdb/delete_series?match[]=%zz');
is($r->{status}, 400, 'bad escape');
like($r->{body}, qr/error parsing form values: invalid URL escape \\"%zz\\"/,
    'bad escape: text');
for my $what (qw(delete_series clean_tombstones)) {
    for my $method (qw(GET HEAD DELETE)) {
        $r = $t->http($method, "/api/v1/admin/tsdb/$what");
        is($r->{status}, 405, "$method $what");
        is($r->{headers}{allow}, 'OPTIONS, POST, PUT', "$method $what: Allow");
    }
    is($t->http('OPTIONS', "/api/v1/admin/tsdb/$what")->{status}, 204,
        "OPTIONS $what");
}
is($t->http('POST', '/api/v1/admin/tsdb/other')->{status}, 404, 'no such endpoint');
is($t->http('POST', '/api/v1/delete_series')->{status}, 404, 'not below query');
is($t->http('PUT', '/api/v1/admin/tsdb/delete_series?'
    . Nightlight::Test::form('match[]' => ['{job="nobody"}', 'nothing']))->{status},
    204, 'PUT, parameters in the URL, two selectors');
is($t->http('PUT', '/api/v1/admin/tsdb/delete_series', body => 'match[]=m%7Bi="0"%7D'
    . '&start=1&end=2', headers => { 'Content-Type' =>
    'application/x-www-form-urlencoded' })->{status}, 204, 'PUT, a form');
deletes('end before start', 'match[]' => 'm', start => $now, end => $t0);
is(counts('m'), $after, 'deletes nothing');

# ---- what races with a delete ----

# A child writes sample after sample and notes when each was sent and
# acknowledged: "n sent acknowledged".
my $ledger = $t->dir . '/ledger';
my $stop = $t->dir . '/stop';
my $pid = fork();
die "fork: $!" unless defined $pid;
if (!$pid) {
    open(my $f, '>', $ledger) or POSIX::_exit(1);
    $f->autoflush(1);
    my $end = time() + 300;
    for (my $n = 0; !-e $stop && time() < $end; $n++) {
        my $sent = time();
        my $ok = $t->write({ __name__ => 'race' }, [$t0 * 1000 + $n, $n]) == 204;
        print $f join(' ', $n, $sent, $ok ? time() : 0), "\n";
    }
    POSIX::_exit(0);
}
my @deleted;
for (1 .. 3) {
    my $size = -s $ledger || 0;
    $t->wait_for(sub { (-s $ledger || 0) > $size + 1000 }, 'writes', 20);
    my $begin = time();
    my $r = admin('delete_series', 'match[]' => 'race');
    push @deleted, [$begin, time()] if $r->{status} == 204;
    is($r->{status}, 204, 'delete beside writes') or diag($r->{body});
}
my $size = -s $ledger || 0;
$t->wait_for(sub { (-s $ledger || 0) > $size + 500 }, 'writes', 20);
$t->write_file('stop', '');
waitpid($pid, 0);
is($?, 0, 'the writer is done');

sub race_is_right {
    my ($when) = @_;
    my %there = map { int($_->[0] * 1000 + 0.5) - $t0 * 1000 => 1 }
        map { @{$_->{values}} } @{$t->query('race[2h]', time => $now)->{result}};
    my ($lost, $back, $kept, $gone) = (0, 0, 0, 0);
    my $last = $deleted[-1][1];
    for (split /\n/, $t->read_file('ledger')) {
        my ($n, $sent, $ack) = split;
        next if !$ack;
        if ($sent > $last) {
            $there{$n} ? $kept++ : $lost++;
        } elsif (grep { $ack < $_->[0] } @deleted) {
            $there{$n} ? $back++ : $gone++;
        }
    }
    is($lost, 0, "$when: no sample sent after the last delete is lost");
    is($back, 0, "$when: no sample acknowledged before a delete is there");
    cmp_ok($kept, '>', 10, "$when: $kept were sent afterwards");
    cmp_ok($gone, '>', 10, "$when: $gone were deleted");
}

race_is_right('at once');
$t->kill9_all();
unlink glob $t->dir . '/head/*';
$t->run();
race_is_right('from the logs');
is(admin('clean_tombstones')->{status}, 204, 'clean_tombstones');
race_is_right('cleaned');

# ---- everything ----

deletes('a matcher that matches everything', 'match[]' => '{}');
is_deeply($t->api('labels')->{data}, [], 'no label is left');
is($t->write({ __name__ => 'm' }, [$now * 1000, 5]), 204, 'the store goes on');
is($t->value('m', time => $now), '5', 'and answers');
$t->done();
